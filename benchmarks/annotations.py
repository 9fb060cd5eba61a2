"""Times reading annotations of COCO's size: 118,000 images, 860,000 boxes with outlines.

    python benchmarks/annotations.py [--folder SCRATCH]

Prints one JSON line. The json is generated, about as large as COCO's (448 MB), with empty image
files beside it. Each figure comes from a process of its own: the first read of `build_annotations`,
the same again from the cache, pycocotools' reader, and four processes that start at once on an
empty cache. Peak and resident memory are what the read added to the process.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

IMAGES, BOXES, CATEGORIES = 118_000, 860_000, 80
OUTLINE = 42  # numbers in an outline, which makes the file as large as COCO's
RANKS = 4
MEGA = 1e6


def write_json(path: Path) -> None:
    """Writes the annotations entry by entry, so that the file is never in memory."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {}, "images": [')
        for number in range(IMAGES):
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
        for number in range(BOXES):
            w, h = rng.uniform(4, 300), rng.uniform(4, 300)
            x, y = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h)
            outline = [round(rng.uniform(0, 480), 2) for _ in range(OUTLINE)]
            annotation = {
                "segmentation": [outline],
                "area": round(w * h / 2, 4),
                "iscrowd": int(number % 100 == 0),
                "image_id": rng.randrange(IMAGES),
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


def prepare(root: Path) -> Path:
    """Writes the data set, unless it is there; returns the json's path."""
    path = root / "annotations" / "instances_train2017.json"
    if not path.exists():
        path.parent.mkdir(parents=True)
        (root / "train2017").mkdir()
        for number in range(IMAGES):
            (root / "train2017" / f"{number:012d}.jpg").touch()
        write_json(path)
    return path


def peak_bytes() -> int:
    """Most memory that this process ever held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_ours(root: Path) -> dict:
    """Reads through build_annotations, as a run does, and tells what it took."""
    from src.config.configuration import make_config
    from src.data import dataset

    parsed = []
    read = dataset.Source.read
    dataset.Source.read = lambda self: (parsed.append(1), read(self))[1]
    classes = ["background", *(f"class {i}" for i in range(CATEGORIES))]
    keys = {"coco_root": str(root), "classes": classes, "output_path": str(root / "run")}
    cfg = make_config([(keys, "benchmark")])
    before = resident_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    annotations = dataset.build_annotations(cfg, training=True)
    figures = {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round((peak_bytes() - before) / MEGA),
        "resident_mb": round((resident_bytes() - before) / MEGA),
        "parsed": len(parsed),
    }
    assert len(annotations) == IMAGES
    return figures


def read_pycocotools(root: Path) -> dict:
    """Reads with pycocotools alone."""
    from pycocotools.coco import COCO

    before = resident_bytes()
    wall = time.perf_counter()
    COCO(str(root / "annotations" / "instances_train2017.json"))
    return {
        "seconds": round(time.perf_counter() - wall, 2),
        "peak_mb": round((peak_bytes() - before) / MEGA),
    }


READERS = {"ours": read_ours, "pycocotools": read_pycocotools}


def start(role: str, root: Path) -> subprocess.Popen:
    """A process that reads and prints its figures last."""
    command = [sys.executable, __file__, "--serve", role, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen) -> dict:
    """What the process printed; RuntimeError if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args[2:]} ended with status {process.returncode}")
    return json.loads(output.splitlines()[-1])


def empty_cache(root: Path) -> None:
    for path in (root / ".annotations").glob("*.npz"):
        path.unlink()


def measure(root: Path) -> dict:
    """All figures, one process after the other."""
    path = prepare(root)
    path.read_bytes()  # every reader finds the file in the page cache
    empty_cache(root)
    figures = {"json_mb": round(path.stat().st_size / MEGA)}
    figures["first"] = result(start("ours", root))
    figures["cached"] = result(start("ours", root))
    figures["pycocotools"] = result(start("pycocotools", root))
    empty_cache(root)
    started = time.perf_counter()
    ranks = [result(process) for process in [start("ours", root) for _ in range(RANKS)]]
    figures["ranks"] = {
        "number": RANKS,
        "parsed": sum(rank["parsed"] for rank in ranks),
        "seconds": round(time.perf_counter() - started, 2),
    }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where the data set is kept for another run")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        role, root = args.serve
        print(json.dumps(READERS[role](Path(root))))
    elif args.folder:
        print(json.dumps({"benchmark": "annotations", **measure(args.folder)}))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps({"benchmark": "annotations", **measure(Path(scratch))}))


if __name__ == "__main__":
    main()
