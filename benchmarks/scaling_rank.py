"""What a rank of scaling.py does; scaling.py starts it, alone or under mpirun or msrun.

    mpirun -n 2 python benchmarks/scaling_rank.py updates --output=FILE

updates: whole updates of the base network on a batch that stays the same.
reduce: sums of gradients alone; see scaling_sums.py.

The main rank writes a JSON list: what each rank measured, a dictionary of numbers.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import scaling_sums
from run_costs import measure
from train_step import CLIP_NORM, OBJECTS, make_boxes

sys.path.insert(0, str(Path(__file__).parents[1]))

WARM_UP = 2  # updates: the first compiles, in the second kernels are still set up
LR = 0.01
MILLI = 1e3


def make_batch(cfg, anchors, seed: int):
    """cfg.batch_size images of noise with OBJECTS boxes each.

    Args:
        anchors: (A,4).
    """
    import numpy as np

    from src.data.loader import TrainBatch
    from src.detection.assign import MaxIoUAssigner

    size, (height, width) = cfg.batch_size, cfg.image_size
    boxes, crowd = make_boxes(height), np.zeros(OBJECTS, bool)
    assigned = MaxIoUAssigner(anchors, positive_iou=cfg.positive_iou)(boxes, crowd).astype(np.int32)
    images = np.random.default_rng(seed).integers(0, 256, (size, height, width, 3), dtype=np.uint8)
    labels = np.arange(OBJECTS, dtype=np.int32)
    targets = [np.repeat(array[None], size, axis=0) for array in (assigned, boxes, labels)]
    return TrainBatch(images, *targets, np.arange(size), [])


def build_update(cfg, ranks, clock) -> Callable[[], bool]:
    """A function that makes one update and says whether the weights changed.

    Args:
        clock: gets the times of the update's parts.
    """
    from src.training.build import build_step

    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd

    generator = build_anchors(cfg)
    anchors = generator.boxes(cfg.image_size)
    network = build_ssd(cfg, generator.anchors_per_cell)
    step = build_step(cfg, network, anchors, clock=clock, ranks=ranks)
    step.synchronise()
    batch = make_batch(cfg, anchors, seed=ranks.rank)
    return lambda: step([batch], LR).updated


def time_updates(cfg, ranks, *, steps: int) -> dict[str, float]:
    """Seconds of an update, milliseconds of its parts, CPU-seconds an image; means over the steps.

    Raises:
        RuntimeError: an update was skipped, and so was shorter than it should be.
    """
    from src.runtime.stopwatch import COMPUTE, REDUCE, UPDATE, WAIT, Stopwatch

    names = {COMPUTE: "forward_backward", WAIT: "other_ranks", REDUCE: "reduce", UPDATE: "update"}
    clock, done = Stopwatch(precise=True), []
    update = build_update(cfg, ranks, clock)
    for _ in range(WARM_UP):
        update()
    ranks.meet()
    clock.lap()
    wall, cpu = measure(lambda: done.extend(update() for _ in range(steps)))
    parts = clock.lap()
    if not all(done):
        raise RuntimeError("an update was skipped: its loss or gradients were not finite")
    return {
        "update_seconds": wall / steps,
        "cpu_seconds_per_image": cpu / steps / cfg.batch_size,
        **{f"{name}_ms": parts.get(part, 0) / steps * MILLI for part, name in names.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", choices=("updates", "reduce"))
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--batch_size", type=int, default=1, help="of this rank")
    parser.add_argument("--steps", type=int, default=3, help="timed updates")
    parser.add_argument("--threads", type=int, default=1, help="of this rank")
    parser.add_argument("--output", type=Path, required=True, help="the main rank's JSON")
    args = parser.parse_args()

    from src.config.configuration import make_config
    from src.distributed.join import build_device
    from src.distributed.launch import find_launch

    changes = {
        "image_size": [args.image_size, args.image_size],
        "batch_size": args.batch_size,
        "cpu_threads": args.threads,
        "clip_norm": CLIP_NORM,
    }
    cfg = make_config([(changes, "benchmark")])
    ranks = build_device(cfg, find_launch())
    if args.work == "updates":
        own = time_updates(cfg, ranks, steps=args.steps)
    else:
        own = scaling_sums.time_sums(cfg, ranks)
    measured = ranks.gather_to_main(own)
    if ranks.is_main:
        args.output.write_text(json.dumps(measured))


if __name__ == "__main__":
    from src.distributed.command import run_command  # sets what MindSpore reads when it is imported

    run_command(main)
