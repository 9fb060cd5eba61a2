"""Times reading annotations of COCO's size: 118,000 images, 860,000 boxes with outlines.

    python benchmarks/annotations.py [--folder SCRATCH]

Prints a JSON line. The json is generated, about as large as COCO's (448 MB), with empty image files
beside it. Each figure is from a process of its own: the first read by `build_annotations`, the same
from the cache, pycocotools' reader, and four processes that start at once on an empty cache. Peak
and resident memory are what the read adds to the process.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import (
    MEGA,
    configure,
    make_parser,
    peak_bytes,
    print_row,
    resident_bytes,
)
from benchmarks.processes import result, start

IMAGES, BOXES, CATEGORIES = 118_000, 860_000, 80
OUTLINE = 42  # numbers in an outline, which makes the file as large as COCO's
RANKS = 4


def write_json(path: Path, images: int, boxes: int) -> None:
    """Writes the annotations entry by entry, so that the file is never in memory."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {}, "images": [')
        for number in range(images):
            image = {
                "license": 3,
                "file_name": f"{number:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{number:012d}.jpg",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 11:18:45",
                "id": number,
            }
            file.write((", " if number else "") + json.dumps(image))
        file.write('], "annotations": [')
        for number in range(boxes):
            w, h = rng.uniform(4, 300), rng.uniform(4, 300)
            x, y = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h)
            outline = [round(rng.uniform(0, 480), 2) for _ in range(OUTLINE)]
            annotation = {
                "segmentation": [outline],
                "area": round(w * h / 2, 4),
                "iscrowd": int(number % 100 == 0),
                "image_id": rng.randrange(images),
                "bbox": [round(v, 2) for v in (x, y, w, h)],
                "category_id": category_id(rng.randrange(CATEGORIES)),
                "id": number + 1,
            }
            file.write((", " if number else "") + json.dumps(annotation))
        categories = [
            {"supercategory": "thing", "id": category_id(i), "name": f"class {i}"}
            for i in range(CATEGORIES)
        ]
        file.write('], "categories": ' + json.dumps(categories) + "}")


def category_id(index: int) -> int:
    """Sparse ids, like COCO's."""
    return index + index // 8 + 1


def prepare(root: Path, images: int, boxes: int) -> Path:
    """Writes the data set, unless it is there; returns the json's path."""
    path = root / "annotations" / "instances_train2017.json"
    if not path.exists():
        path.parent.mkdir(parents=True)
        (root / "train2017").mkdir()
        for number in range(images):
            (root / "train2017" / f"{number:012d}.jpg").touch()
        write_json(path, images, boxes)
    return path


def read_ours(root: Path) -> dict:
    """Reads by build_annotations, as a run does; the time and memory that takes."""
    from src.data import dataset

    parsed = []
    read = dataset.Source.read
    dataset.Source.read = lambda self: (parsed.append(1), read(self))[1]
    classes = ["background", *(f"class {i}" for i in range(CATEGORIES))]
    cfg = configure([], coco_root=root, classes=classes, output_path=root / "run")
    before = resident_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    annotations = dataset.build_annotations(cfg, training=True)
    return {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round((peak_bytes() - before) / MEGA),
        "resident_mb": round((resident_bytes() - before) / MEGA),
        "parsed": len(parsed),
        "images": len(annotations),
    }


def read_pycocotools(root: Path) -> dict:
    """Reads by pycocotools."""
    from pycocotools.coco import COCO

    before = resident_bytes()
    wall = time.perf_counter()
    found = COCO(str(root / "annotations" / "instances_train2017.json"))
    return {
        "seconds": round(time.perf_counter() - wall, 2),
        "peak_mb": round((peak_bytes() - before) / MEGA),
        "images": len(found.imgs),
    }


READERS = {"ours": read_ours, "pycocotools": read_pycocotools}


def empty_cache(root: Path) -> None:
    for path in (root / ".annotations").glob("*.npz"):
        path.unlink()


def read_all(root: Path, images: int, boxes: int) -> dict:
    """All figures, one process after the other."""
    path = prepare(root, images, boxes)
    path.read_bytes()  # every reader finds the file in the page cache
    empty_cache(root)
    figures = {"json_mb": round(path.stat().st_size / MEGA)}
    figures["first"] = result(start(__file__, "--serve", "ours", root))
    figures["cached"] = result(start(__file__, "--serve", "ours", root))
    figures["pycocotools"] = result(start(__file__, "--serve", "pycocotools", root))
    empty_cache(root)
    started = time.perf_counter()
    processes = [start(__file__, "--serve", "ours", root) for _ in range(RANKS)]
    ranks = [result(process) for process in processes]
    figures["ranks"] = {
        "number": RANKS,
        "parsed": sum(rank["parsed"] for rank in ranks),
        "seconds": round(time.perf_counter() - started, 2),
    }
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, help="where the data set is kept for another run")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--boxes", type=int, default=BOXES)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        role, root = args.serve
        print(json.dumps(READERS[role](Path(root))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        print_row("annotations", read_all(args.folder or Path(scratch), args.images, args.boxes))


if __name__ == "__main__":
    main()
