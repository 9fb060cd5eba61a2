"""Times the training input pipeline: files in, batches with targets out.

    python benchmarks/input_pipeline.py [--peer VENV/bin/python]

Prints a JSON line. The images are JPEGs of 640 x 480 and about 100 kB that the script draws, with
seven objects each; the input is the base recipe's, 640 x 640 and 51,150 anchors. Speeds of one core
are images per second of CPU time, in one process. `second_core` is the speed of two worker
processes over that of one, in wall time. With --peer, torchvision's SSD preset (photometric
distortion, zoom-out, IoU crop, flip, as in its reference scripts) and a resize to 640 alternate
with ours on the same files, without assignment; `ssd_expand` is our preset with zoom-out.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MILLI, configure, make_parser, print_row
from benchmarks.processes import Worker, serve
from benchmarks.updates import OBJECTS

SIZE = 640
WIDTH, HEIGHT = 640, 480  # of the files
FILES = 64
IMAGES = 512  # of the split; each file is listed several times
BATCH = 8
JPEG_QUALITY = 85


def write_images(folder: Path, images: int = IMAGES) -> float:
    """Draws the files of so many images; returns their mean size in bytes."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for number in range(min(images, FILES)):
        coarse = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.uniform(-12, 12, image.shape), 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(folder / f"{number}.jpg"), image, quality)
    return statistics.mean(path.stat().st_size for path in folder.iterdir())


def make_annotations(folder: Path, images: int):
    """A split of so many images, OBJECTS boxes each, of 20 to 200 pixels a side."""
    import numpy as np

    from src.data.annotations import Annotations

    rng = np.random.default_rng(1)
    sides = rng.uniform(20, 200, (images * OBJECTS, 2))
    corners = rng.uniform(0, [WIDTH, HEIGHT] - sides)
    return Annotations(
        source=folder / "none.json",
        image_dir=folder,
        file_names=np.array([f"{i % FILES}.jpg".encode() for i in range(images)]),
        image_ids=np.arange(images),
        sizes=np.tile(np.array([WIDTH, HEIGHT], np.int32), (images, 1)),
        offsets=np.arange(images + 1) * OBJECTS,
        boxes=np.concatenate([corners, corners + sides], axis=1).astype(np.float32),
        labels=rng.integers(0, 80, images * OBJECTS).astype(np.int32),
        crowd=np.zeros(images * OBJECTS, bool),
        category_ids=tuple(range(80)),
    )


def make_samples(cfg, annotations, preset: str):
    """The configuration's samples with an augmentation preset."""
    from src.data.augmentation.presets import Augmentation
    from src.data.loader import TrainSamples
    from src.detection.assign import build_assigner

    return TrainSamples(
        annotations,
        image_size=cfg.image_size,
        augmentation=Augmentation(preset),
        assigner=build_assigner(cfg),
        seed=cfg.seed,
    )


def time_epoch(loader, epoch: int) -> tuple[float, float]:
    """(wall, CPU) seconds per image of one epoch; CPU time is this process's alone."""
    wall, cpu = time.perf_counter(), time.process_time()
    images = sum(len(batch.images) for batch in loader.epoch(epoch))
    return (time.perf_counter() - wall) / images, (time.process_time() - cpu) / images


def time_stages(samples, repeats: int) -> dict[str, float]:
    """Median milliseconds of CPU time of each stage of the preset `ssd`."""
    import numpy as np

    from src.data.augmentation.colours import photometric
    from src.data.augmentation.crops import min_iou_crop
    from src.data.transforms import Sample, fit, flip

    times: dict[str, list[float]] = {}

    def timed(name, function, *args, **kwargs):
        started = time.process_time()
        result = function(*args, **kwargs)
        times.setdefault(name, []).append((time.process_time() - started) * MILLI)
        return result

    size = samples.image_size
    target = np.empty((*size, 3), np.uint8)
    for index in range(repeats):
        rng = np.random.default_rng(index)
        record = samples.annotations[index]
        image = timed("read_and_decode", record.read)
        sample = Sample(image, record.boxes, record.labels, record.crowd)
        sample = timed("min_iou_crop", min_iou_crop, sample, rng)
        sample = timed("resize", fit, sample, size, keep_aspect=False)
        sample = timed("flip", flip, sample, rng)
        sample = timed("photometric", photometric, sample, rng, strength=0.4)
        timed("assign_7_objects", samples.assigner, record.boxes, record.crowd)
        timed("assign_after_crop", samples.assigner, sample.boxes, sample.crowd)
        timed("copy_into_batch", np.copyto, target, sample.image)
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def build_peer(folder: Path, boxes_file: Path, size: int):
    """A function that passes over all files with torchvision, and facts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    from PIL import Image
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    transform = v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill={tv_tensors.Image: (123, 117, 104), "others": 0}),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(p=0.5),
            v2.Resize((size, size), antialias=False),
            v2.SanitizeBoundingBoxes(),
        ]
    )
    records = json.loads(boxes_file.read_text())

    def work():
        for name, boxes, labels in records:
            with Image.open(folder / name) as image:
                pixels = v2.functional.pil_to_tensor(image.convert("RGB"))
            boxes = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(HEIGHT, WIDTH))
            transform(tv_tensors.Image(pixels), {"boxes": boxes, "labels": torch.tensor(labels)})

    return work, {"images": len(records)}


def start_peer(python: str, folder: Path, annotations, size: int) -> Worker:
    """torchvision's preset on each file once, in a process of another interpreter."""
    boxes = folder.parent / "boxes.json"
    records = [annotations[i] for i in range(min(FILES, len(annotations)))]
    rows = [(r.path.name, r.boxes.tolist(), r.labels.tolist()) for r in records]
    boxes.write_text(json.dumps(rows))
    return Worker([python, __file__, "--serve", folder, boxes, size])


def time_loaders(samples: dict, peer: Worker | None, repeats: int) -> dict[str, list[float]]:
    """Seconds an image; each repeat runs every variant once, so that noise meets them alike.

    CPU seconds of this process, or of the peer's; wall time of loaders with worker processes.
    """
    from src.data.loader import TrainLoader

    variants = (
        ("ssd", "ssd", 0),
        ("ssd_expand", "ssd_expand", 0),
        ("one worker", "ssd", 1),
        ("two workers", "ssd", 2),
    )
    loaders = {
        name: TrainLoader(samples[preset], batch_size=BATCH, workers=workers)
        for name, preset, workers in variants
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*loaders, "peer")}
    for repeat in range(repeats + 1):  # the first starts the workers and warms up
        for name, loader in loaders.items():
            wall, cpu = time_epoch(loader, repeat)
            seconds[name].append(wall if "worker" in name else cpu)
        if peer:
            answer = peer.work()
            seconds["peer"].append(answer["cpu"] / answer["facts"]["images"])
    for closable in (*loaders.values(), *([peer] if peer else [])):
        closable.close()
    return {name: values[1:] for name, values in seconds.items() if values}


def measure_pipeline(cfg, folder: Path, args: argparse.Namespace) -> dict:
    """All figures."""
    import cv2

    from src.data.workers import layout_bytes

    cv2.setNumThreads(1)
    file_bytes = write_images(folder, args.images)
    annotations = make_annotations(folder, args.images)
    samples = {name: make_samples(cfg, annotations, name) for name in ("ssd", "ssd_expand")}
    peer = start_peer(args.peer, folder, annotations, args.image_size) if args.peer else None
    seconds = time_loaders(samples, peer, args.repeats)
    speed = {name: 1 / statistics.median(values) for name, values in seconds.items()}
    scaling = [a / b for a, b in zip(seconds["one worker"], seconds["two workers"])]
    figures = {
        "mean_file_bytes": round(file_bytes),
        "images_per_core_second": round(speed["ssd"], 1),
        "images_per_core_second_ssd_expand": round(speed["ssd_expand"], 1),
        "stage_milliseconds": time_stages(samples["ssd"], args.images // 2),
        "bytes_shipped_per_image": layout_bytes(samples["ssd"].layout(BATCH)) // BATCH,
        "images_per_second_one_worker": round(speed["one worker"], 1),
        "images_per_second_two_workers": round(speed["two workers"], 1),
        "second_core": round(statistics.median(scaling), 2),
        "second_core_range": [round(min(scaling), 2), round(max(scaling), 2)],
    }
    if peer:
        figures["peer_images_per_core_second"] = round(speed["peer"], 1)
        for preset in samples:
            figures[f"{preset}_over_peer"] = round(speed[preset] / speed["peer"], 2)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--images", type=int, default=IMAGES, help="of an epoch")
    parser.add_argument("--image_size", type=int, default=SIZE, help="of the input")
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has torchvision")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        folder, boxes, size = args.serve
        serve(lambda: build_peer(Path(folder), Path(boxes), int(size)))
        return
    cfg = configure([], image_size=[args.image_size] * 2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        folder.mkdir()
        figures = measure_pipeline(cfg, folder, args)
    print_row("input_pipeline", {"repeats": args.repeats, **figures})


if __name__ == "__main__":
    main()
