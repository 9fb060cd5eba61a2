"""Updates that are timed: the step of a configuration, and batches made beforehand."""

from benchmarks.common import configure

OBJECTS = 7  # a typical COCO image
CLIP_NORM = 10.0
LR = 0.01


def make_boxes(height: int, width: int):
    """OBJECTS boxes (G,4) of sizes from a tenth to two thirds of the image."""
    import numpy as np

    sides = np.linspace(0.1, 0.66, OBJECTS)
    starts = np.linspace(0.3, 0.0, OBJECTS)
    corners = np.stack([starts, starts[::-1]], axis=1)
    boxes = np.concatenate([corners, corners + sides[:, None]], axis=1)
    return (boxes * [width, height, width, height]).astype(np.float32)


def make_batch(cfg, seed: int = 0):
    """A TrainBatch of noise with the boxes of `make_boxes` in each image."""
    import numpy as np

    from src.data.loader import TrainBatch
    from src.detection.assign import build_assigner

    count, boxes = cfg.batch_size, make_boxes(*cfg.image_size)
    rng, assign = np.random.default_rng(seed), build_assigner(cfg)
    images = rng.integers(0, 256, (count, *cfg.image_size, 3), dtype=np.uint8)
    assigned = [assign(boxes, np.zeros(OBJECTS, bool)).astype(np.int32) for _ in range(count)]
    labels = np.arange(OBJECTS, dtype=np.int32) % (len(cfg.classes) - 1)
    repeated = (np.repeat(array[None], count, axis=0) for array in (boxes, labels))
    return TrainBatch(images, np.stack(assigned), *repeated, np.arange(count), [])


def build_update(cfg, *, seed: int = 0, **options):
    """A step of the configuration, from scratch, and the batches of one update.

    Args:
        options: clock and ranks, see src.training.setup.build_step.
    """
    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd
    from src.training.setup import build_step

    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    step = build_step(cfg, network, **options)
    return step, [make_batch(cfg, seed + number) for number in range(cfg.accumulate)]


def configure_update(flags, image_size: int, batch_size: int, **keys):
    """The configuration of an update that is timed: square images, clipping."""
    size = {"image_size": [image_size] * 2, "batch_size": batch_size}
    return configure(flags, **size, clip_norm=CLIP_NORM, **keys)
