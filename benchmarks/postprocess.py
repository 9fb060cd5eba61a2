"""Times post-processing of the network's outputs, on one core.

    python benchmarks/postprocess.py

Prints two JSON lines. The first: milliseconds of CPU time an image, from outputs of 51,150 anchors
x 80 classes to 100 detections, median and largest, by what the outputs are like. The second:
suppression of 1,000 random boxes beside OpenCV's, and in how many cases the two differ.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MILLI, configure, make_parser, measure, print_row

CLASSES = 80
CANDIDATES, DETECTIONS, NMS_IOU = 1000, 100, 0.6
ABOVE = {"nothing": 0, "300 above": 300, "1,000 above": 1000, "10,000 above": 10_000}


def outputs_like(kind: str, anchors: int):
    """Deltas (A,4) and logits (A,K): of a usual image, or awkward ones."""
    import numpy as np

    rng = np.random.default_rng(0)
    deltas = rng.normal(0, 0.5, (anchors, 4)).astype(np.float32)
    logits = rng.normal(-9, 0.9, (anchors, CLASSES)).astype(np.float32)
    if kind in ABOVE:
        places = rng.choice(logits.size, ABOVE[kind], replace=False)
        logits.ravel()[places] = rng.normal(0, 1.2, ABOVE[kind]).clip(-2.9)
    elif kind == "all above":
        logits += 12
    else:  # all equal
        logits[:] = 3
    return deltas, logits


def whole_row(args: argparse.Namespace) -> dict:
    """CPU milliseconds an image by kind of output: median and largest."""
    import numpy as np

    from src.detection.anchors import build_anchors
    from src.detection.postprocess import build_postprocessor

    cfg = configure([], image_size=[args.image_size] * 2)
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    scale, size = np.array([1.0, 4 / 3], np.float32), np.array([640, 480], np.float32)
    row, counts = {}, {}
    for how in ("hard", "soft"):
        postprocess = build_postprocessor(cfg.replace(suppression=how))
        for kind in (*ABOVE, "all above", "equal"):
            deltas, logits = outputs_like(kind, len(anchors))

            def work(postprocess=postprocess, deltas=deltas, logits=logits):
                found = postprocess.decoded(deltas, logits, anchors)
                return postprocess([found.in_image(scale, size)])

            times = [measure(work)[1] * MILLI for _ in range(args.repeats)]
            row[f"{how}, {kind}"] = [round(statistics.median(times), 1), round(max(times), 1)]
            counts[f"{how}, {kind}"] = len(work().scores)
    return {"anchors": len(anchors), "median_and_max_ms": row, "detections": counts}


def random_candidates(seed: int):
    """Boxes (P,4), labels and scores (P,) of ten classes, best score first."""
    import numpy as np

    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 600, (CANDIDATES, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 200, corners.shape)], axis=1)
    scores = np.sort(rng.random(CANDIDATES, dtype=np.float32))[::-1].copy()
    return boxes.astype(np.float32), rng.integers(0, 10, CANDIDATES).astype(np.int32), scores


def suppression_row(args: argparse.Namespace) -> dict:
    """CPU milliseconds of suppression beside OpenCV's, and how often they differ."""
    import cv2
    import numpy as np

    from src.detection.nms import class_offset, nms

    def opencv(boxes, labels, scores):
        sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
        rectangles = np.concatenate([boxes[:, :2], sides], axis=1)
        return cv2.dnn.NMSBoxesBatched(rectangles, scores, labels, 0.0, NMS_IOU)

    ways = {
        "opencv": opencv,
        "all kept": lambda boxes, labels, _: nms(class_offset(boxes, labels), NMS_IOU),
        "100 kept": lambda boxes, labels, _: nms(class_offset(boxes, labels), NMS_IOU, DETECTIONS),
    }
    differ, times = 0, {name: [] for name in ways}
    for seed in range(args.cases):
        case, kept = random_candidates(seed), {}
        for name, suppress in ways.items():
            started = time.process_time()
            kept[name] = sorted(suppress(*case))
            times[name].append((time.process_time() - started) * MILLI)
        differ += kept["opencv"] != kept["all kept"]
    medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    return {"boxes": CANDIDATES, "cases": args.cases, "that_differ": differ, "median_ms": medians}


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--cases", type=int, default=200, help="random ones, of suppression")
    args = parser.parse_args(argv)
    print_row("postprocess", whole_row(args))
    print_row("postprocess suppression", suppression_row(args))


if __name__ == "__main__":
    main()
