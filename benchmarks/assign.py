"""Times the assignment of anchors to objects, for one image on one core.

    python benchmarks/assign.py [--image_size 640] [--objects 7]

Prints a JSON line for each assigner, max_iou with the default anchors and atss with a square one
of 8 strides at each cell: the number of anchors, and the median, fastest and slowest of --repeats
calls in milliseconds of CPU time.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MILLI, configure, make_parser, measure, print_row
from src.detection.assign import build_assigner

KEYS = {
    "max_iou": {},
    "atss": {"anchor_size": 8.0, "scales_per_octave": 1, "aspect_ratios": [1.0]},
}


def random_objects(count: int, image_size: int) -> np.ndarray:
    """Boxes (count,4) with sides up to a third of the image, anywhere in it."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(image_size / 64, image_size / 3.2, (count, 2))
    corners = rng.uniform(0, image_size - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def time_assigner(
    name: str, boxes: np.ndarray, *, image_size: int, repeats: int
) -> dict[str, float]:
    """Anchors, how many of them learn one of the boxes (G,4), and milliseconds of a call."""
    cfg = configure([], image_size=[image_size] * 2, assigner=name, **KEYS[name])
    assigner, crowd = build_assigner(cfg), np.zeros(len(boxes), bool)
    times = [measure(lambda: assigner(boxes, crowd))[1] * MILLI for _ in range(repeats)]
    return {
        "anchors": len(assigner.anchors),
        "positives": int((assigner(boxes, crowd) >= 0).sum()),
        "median_ms": round(statistics.median(times), 2),
        "min_ms": round(min(times), 2),
        "max_ms": round(max(times), 2),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--objects", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=100)
    args = parser.parse_args(argv)
    boxes = random_objects(args.objects, args.image_size)
    for name in KEYS:
        row = time_assigner(name, boxes, image_size=args.image_size, repeats=args.repeats)
        print_row(f"assign_{name}", {**vars(args), **row})


if __name__ == "__main__":
    main()
