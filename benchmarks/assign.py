"""Times the assignment of anchors to objects, for one image on one core.

    python benchmarks/assign.py [--image_size 640] [--objects 7]

Prints one JSON line: the number of anchors, and the median, fastest and slowest of --repeats
calls in milliseconds of CPU time.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.config.configuration import make_config
from src.detection.anchors import build_anchors
from src.detection.assign import MaxIoUAssigner

MILLI = 1e3


def random_objects(count: int, image_size: int) -> np.ndarray:
    """Boxes (count,4) of 10 to 200 pixels a side, anywhere in the image."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(10, 200, (count, 2))
    corners = rng.uniform(0, image_size - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--objects", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=100)
    args = parser.parse_args()
    cfg = make_config([({"image_size": [args.image_size] * 2}, "command line")])
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    assigner = MaxIoUAssigner(anchors, positive_iou=cfg.positive_iou)
    boxes = random_objects(args.objects, args.image_size)
    crowd = np.zeros(args.objects, bool)
    times = []
    for _ in range(args.repeats):
        started = time.process_time()
        assigned = assigner(boxes, crowd)
        times.append((time.process_time() - started) * MILLI)
    result = {
        "benchmark": "assign",
        **vars(args),
        "default_boxes": len(anchors),
        "positives": int((assigned >= 0).sum()),
        "median_ms": round(statistics.median(times), 2),
        "min_ms": round(min(times), 2),
        "max_ms": round(max(times), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
