"""An update of a small network with all kinds of layers, random weights and random images."""

import numpy as np

from src.config.configuration import Config, make_config

# small enough to compile in seconds; no decay and no clipping, so that the loss after an update
# follows from the gradients
KEYS = {
    "backbone": "resnet18",
    "image_size": [128, 128],
    "fpn_channels": 32,
    "head_depth": 1,
    "classes": ["background", "a", "b", "c"],
    "batch_size": 4,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "loss_scale": 128.0,  # gradients of this network neither vanish nor overflow in float16 with it
    "dynamic_loss_scale": "false",
    "seed": 1,
}
# Learning rates. An update lowers the loss by about 1 %: much more than the error of float16
# (0.02 % on an H200), and with momentum within 3 % of what the gradients say to first order.
RATES = {"momentum": 1e-2, "adamw": 2e-5}
OBJECTS = 3  # in each image


def cases(target: str) -> list[tuple[str, str]]:
    """Pairs of optimizer and precision to try; a CPU only emulates float16."""
    precisions = ("float32",) if target == "CPU" else ("float32", "float16")
    return [(optimizer, precision) for precision in precisions for optimizer in RATES]


def trial_config(target: str, optimizer: str, precision: str) -> Config:
    """The configuration of the small network."""
    keys = {**KEYS, "device_target": target, "optimizer": optimizer, "precision": precision}
    return make_config([(keys, "src.doctor.trial_update")])


def make_batch(cfg: Config, seed: int):
    """A TrainBatch of noise images with random boxes."""
    from src.data.loader import TrainBatch
    from src.detection.assign import build_assigner

    rng = np.random.default_rng(seed)
    height, width = cfg.image_size
    count = (cfg.batch_size, OBJECTS)
    corners = rng.uniform(0, 0.5, (*count, 2)) * (width, height)
    sides = rng.uniform(0.25, 0.5, (*count, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype(np.float32)
    assign = build_assigner(cfg)
    no_crowds = np.zeros(OBJECTS, bool)
    return TrainBatch(
        images=rng.integers(0, 256, (cfg.batch_size, height, width, 3), np.uint8),
        assigned=np.stack([assign(own, no_crowds) for own in boxes]).astype(np.int32),
        boxes=boxes,
        labels=rng.integers(0, len(cfg.classes) - 1, count).astype(np.int32),
        image_ids=np.arange(cfg.batch_size),
        unread=[],
    )


def make_step(cfg: Config, ranks=None):
    """The training step of a configuration, with random weights."""
    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd
    from src.training.setup import build_step

    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    return build_step(cfg, network, ranks=ranks)


def update(cfg: Config, step) -> dict:
    """Loss, gradient norm, and the loss of the same batch after the update."""
    batch, rate = make_batch(cfg, cfg.seed), RATES[cfg.optimizer]
    first, second = step([batch], rate), step([batch], rate)
    return {
        "optimizer": cfg.optimizer,
        "precision": cfg.precision,
        "loss": first.loss,
        "norm": first.gradient_norm,
        "after": second.loss,
        "rate": rate,
    }


def try_update(target: str, optimizer: str, precision: str) -> dict:
    """`update` of a case; where it raises, the case with its error."""
    try:
        cfg = trial_config(target, optimizer, precision)
        return update(cfg, make_step(cfg))
    except Exception as error:  # MindSpore raises errors of any kind
        return {"optimizer": optimizer, "precision": precision, "error": first_line(error)}


def first_line(error: Exception) -> str:
    """The type of an error and its first line that is not of dashes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    return f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"
