"""Updates of a small network, and what ranks do together, in a process of their own.

    python3 -m src.doctor.trial REQUEST.json ANSWER.json

MindSpore can use one kind of device in a process, so a card's updates and the CPU's that they are
compared with are two of these. A process that crashes or hangs takes no other check with it.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.config import Config, make_config
from src.files import to_json, write_atomically

OPTIMIZERS, PRECISIONS = ("momentum", "adamw"), ("float32", "float16")
# small enough to compile in seconds, with every kind of layer; no decay and no clipping, so that
# the loss after an update follows from the gradients
KEYS = {
    "backbone": "resnet18",
    "image_size": [128, 128],
    "fpn_channels": 32,
    "head_depth": 1,
    "classes": ["background", "a", "b", "c"],
    "batch_size": 4,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "seed": 1,
}
RATES = {"momentum": 1e-3, "adamw": 1e-5}
FLOAT16_SCALE = 128.0  # of the loss; gradients of this network neither vanish nor overflow with it
OBJECTS = 3  # in each image
KNOWN = np.arange(1, 1001, dtype=np.float32)  # rank r gives r + 1 times these; float32 is exact
GRADIENT_FLOATS, GRADIENT_PARTS = 33_300_000, 20  # of ResNet50: 133 MB
TIMED_SUMS = 3
RANK_UPDATES = 3


@dataclass(frozen=True)
class Request:
    """What a trial is asked for.

    Attributes:
        target: CPU, GPU or Ascend.
        device_id: which card; several ranks find theirs themselves.
        cases: pairs of optimizer and precision, one update each.
        is_rank: whether this is a rank of the job that started the command.
        failures: that this rank has found before.
        can_run: whether it has a device to run on.
    """

    target: str
    device_id: int = 0
    cases: Sequence[Sequence[str]] = ()
    is_rank: bool = False
    failures: Sequence[Sequence[str]] = ()
    can_run: bool = True


def trial_config(target: str, optimizer: str, precision: str) -> Config:
    """The configuration of the small network."""
    keys = {**KEYS, "device_target": target, "optimizer": optimizer, "precision": precision}
    return make_config([(keys, "src.doctor.trial")])


def make_batch(cfg: Config, seed: int):
    """Images of noise with boxes at random, the same for the same seed."""
    from src.data.loader import TrainBatch
    from src.detection.anchors import build_anchors
    from src.detection.assign import build_assigner

    rng = np.random.default_rng(seed)
    height, width = cfg.image_size
    count = (cfg.batch_size, OBJECTS)
    corners = rng.uniform(0, 0.5, (*count, 2)) * (width, height)
    sides = rng.uniform(0.25, 0.5, (*count, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype(np.float32)
    assign = build_assigner(cfg, build_anchors(cfg).boxes(cfg.image_size))
    nobody = np.zeros(OBJECTS, bool)
    return TrainBatch(
        images=rng.integers(0, 256, (cfg.batch_size, height, width, 3), np.uint8),
        assigned=np.stack([assign(own, nobody) for own in boxes]).astype(np.int32),
        boxes=boxes,
        labels=rng.integers(0, len(cfg.classes) - 1, count).astype(np.int32),
        image_ids=np.arange(cfg.batch_size),
        unread=[],
    )


def make_step(cfg: Config, ranks=None):
    """The update of a configuration, with freshly drawn weights."""
    from src.detection.anchors import build_anchors
    from src.losses import DetectionLoss
    from src.models.ssd import build_ssd
    from src.training.cells import LossNetwork
    from src.training.loss_scale import LossScale
    from src.training.optimizer import build_optimizer
    from src.training.step import TrainStep

    anchors = build_anchors(cfg)
    network = build_ssd(cfg, anchors.boxes_per_cell)
    loss = DetectionLoss(
        anchors.boxes(cfg.image_size),
        alpha=cfg.alpha, gamma=cfg.gamma, beta=cfg.beta, box_weight=cfg.box_weight,
    )  # fmt: skip
    return TrainStep(
        LossNetwork(network, loss),
        build_optimizer(cfg, network.trainable_params()),
        loss_scale=LossScale(FLOAT16_SCALE if cfg.precision == "float16" else 1.0),
        ranks=ranks,
    )


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


def updates(request: Request, tell: Callable[[list], None] = len) -> list[dict]:
    """`update` of each case, with the case; a case that raises has its error instead.

    Args:
        tell: is given what is done so far after each.
    """
    done: list[dict] = []
    for optimizer, precision in request.cases:
        try:
            cfg = trial_config(request.target, optimizer, precision)
            numbers = update(cfg, make_step(cfg))
        except Exception as error:  # of MindSpore's, which are of any kind
            numbers = {
                "optimizer": optimizer, "precision": precision, "error": first_line(error),
            }  # fmt: skip
        done.append(numbers)
        tell(done)
    return done


def first_line(error: Exception) -> str:
    """The kind of an error and the first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    return f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"


def add_up(ranks, arrays: Sequence[np.ndarray]):
    """What adds up arrays over the ranks: gives (sum of 1, one tensor an array) when called."""
    import mindspore as ms

    tensors = [ms.Tensor(array) for array in arrays]
    weights = [ms.Parameter(t, name=f"w{i}") for i, t in enumerate(tensors)]
    summed = ranks.make_sum(weights, [], 1)
    summed.compile()
    one = ms.Tensor(np.ones(1, np.float32)), ms.Tensor(1, ms.float32)
    return lambda: summed(one[0], tensors, one[1])


def wrong_sums(ranks) -> int:
    """How many sums of known whole numbers are not exact on this rank; 0 for a sum that works."""
    count, sums = add_up(ranks, [KNOWN * (ranks.rank + 1)])()
    expected = KNOWN * (ranks.size * (ranks.size + 1) // 2)
    return int((sums[0].asnumpy() != expected).sum()) + int(count.asnumpy()[0] != ranks.size)


def time_sum(ranks) -> float:
    """Seconds of a sum of as many floats as ResNet50's gradients have, the median of a few."""
    part = np.full(GRADIENT_FLOATS // GRADIENT_PARTS, 1.0, np.float32)
    call = add_up(ranks, [part] * GRADIENT_PARTS)
    times = []
    for _ in range(1 + TIMED_SUMS):  # the first one sets up connections
        ranks.meet()
        started = time.perf_counter()
        call()[0].asnumpy()
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def differing(ranks, cfg: Config, step) -> str:
    """What is not the same on all ranks after updates with images of their own; "" for nothing."""
    from src.errors import RunError
    from src.training.agreement import check_same

    for number in range(RANK_UPDATES):
        batch = make_batch(cfg, cfg.seed + ranks.rank + ranks.size * number)
        report = step([batch], RATES[cfg.optimizer])
        if not report.updated:
            return (
                f"update {number + 1}: the loss is {report.loss}, the norm {report.gradient_norm}"
            )
    try:
        check_same(ranks, step.parameters())
    except RunError as error:
        return str(error).partition(";")[0]
    return ""


def together(request: Request, launch) -> dict:
    """What the ranks of a job find; only the main rank's answer is whole."""
    import socket

    from src.device import build_device, use_full_float32

    cfg = trial_config(request.target, *request.cases[0])
    ranks = build_device(cfg, launch)
    use_full_float32(request.target)
    ranks.rest()
    own = {"host": socket.gethostname(), "failures": list(request.failures)}
    everyone = ranks.gather(own)
    answer = {"ranks": everyone, "transport": ranks.describe()}
    answer["wrong_sums"] = ranks.gather(wrong_sums(ranks))
    answer["sum_seconds"] = time_sum(ranks)
    step = make_step(cfg, ranks)
    step.synchronise()
    # all ranks with one batch make the update of one process with it
    answer["updates"] = [update(cfg, step)]
    answer["differing"] = differing(ranks, cfg, step)
    ranks.gather(None)  # none leaves while another one is at work
    return answer


def ready(request: Request) -> list[dict]:
    """Which ranks of mpirun have a device to run on, asked before any waits for another's."""
    import socket

    from mpi4py import MPI

    own = {"host": socket.gethostname(), "failures": list(request.failures)}
    return MPI.COMM_WORLD.allgather({**own, "can_run": request.can_run})


def alone(request: Request, tell: Callable[[dict], None]) -> dict:
    """The updates of one process; `tell` is given what is done, should the next one crash."""
    from src.device import set_up_device, use_full_float32

    set_up_device(request.target, device_id=request.device_id)
    use_full_float32(request.target)
    return {"updates": updates(request, lambda done: tell({"updates": done}))}


def answer_to(request: Request, tell: Callable[[dict], None]) -> dict:
    """The trial."""
    if not request.is_rank:
        return alone(request, tell)
    from src.launch import find_launch, prepare_environment

    launch = find_launch()
    if launch.by == "mpirun":
        everyone = ready(request)
        if not all(rank["can_run"] for rank in everyone):
            return {"ranks": everyone}
    prepare_environment(launch)
    return together(request, launch)


def main() -> None:
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    output = Path(sys.argv[2])

    def tell(answer: dict) -> None:
        write_atomically(output, to_json(answer))

    tell(answer_to(request, tell))


def to_request(request: Request) -> str:
    """A request as the file that the command takes."""
    return json.dumps(dataclasses.asdict(request))


if __name__ == "__main__":
    main()
