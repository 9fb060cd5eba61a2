"""Times the assignment of anchors to objects, for one image on one core.

    python benchmarks/assign.py [--image_size 640] [--objects 7]

Prints a JSON line: the number of anchors, and the median, fastest and slowest of --repeats calls
in milliseconds of CPU time.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MILLI, configure, make_parser, measure, print_row
from src.detection.assign import build_assigner


def random_objects(count: int, image_size: int) -> np.ndarray:
    """Boxes (count,4) with sides up to a third of the image, anywhere in it."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(image_size / 64, image_size / 3.2, (count, 2))
    corners = rng.uniform(0, image_size - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--objects", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=100)
    args = parser.parse_args(argv)
    cfg = configure([], image_size=[args.image_size] * 2)
    assigner = build_assigner(cfg)
    boxes, crowd = random_objects(args.objects, args.image_size), np.zeros(args.objects, bool)
    times = [measure(lambda: assigner(boxes, crowd))[1] * MILLI for _ in range(args.repeats)]
    row = {
        "anchors": len(assigner.anchors),
        "positives": int((assigner(boxes, crowd) >= 0).sum()),
        "median_ms": round(statistics.median(times), 2),
        "min_ms": round(min(times), 2),
        "max_ms": round(max(times), 2),
    }
    print_row("assign", {**vars(args), **row})


if __name__ == "__main__":
    main()
