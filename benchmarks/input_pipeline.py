"""Times the training input pipeline: files in, batches with targets out.

    python benchmarks/input_pipeline.py [--peer VENV/bin/python]

Prints one JSON line. The images are JPEGs of 640 x 480 and about 100 kB that it draws itself, with
seven objects each; the input is the base recipe's, 640 x 640 and 51,150 anchors. Speeds of
one core are images per second of CPU time, in one process. What a second core adds is the speed of
two worker processes over that of one, in wall time. With --peer, torchvision's SSD preset
(photometric distortion, zoom-out, IoU crop, flip, as in its reference scripts) and a resize to 640
run turn about on the same files, without assignment; `ssd_expand` is our preset with zoom-out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

SIZE = 640
WIDTH, HEIGHT = 640, 480  # of the files
FILES = 64
RECORDS = 512  # images of the split; each file is listed several times
OBJECTS = 7  # a typical COCO image
BATCH = 8
JPEG_QUALITY = 85
MILLI = 1e3


def write_images(folder: Path) -> float:
    """Draws the files; returns their mean size in bytes."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for number in range(FILES):
        coarse = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.uniform(-12, 12, image.shape), 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(folder / f"{number}.jpg"), image, quality)
    return statistics.mean(path.stat().st_size for path in folder.iterdir())


def make_annotations(folder: Path, images: int = RECORDS):
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


def make_samples(annotations, preset: str):
    """The base recipe's samples with a preset."""
    from src.config.configuration import make_config
    from src.data.loader import TrainSamples
    from src.detection.assign import build_assigner

    cfg = make_config([({"image_size": [SIZE, SIZE]}, "benchmark")])
    return TrainSamples(
        annotations,
        image_size=cfg.image_size,
        preset=preset,
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

    from src.data import transforms
    from src.data.transforms import Sample

    times: dict[str, list[float]] = {}

    def timed(name, function, *args, **kwargs):
        started = time.process_time()
        result = function(*args, **kwargs)
        times.setdefault(name, []).append((time.process_time() - started) * MILLI)
        return result

    target = np.empty((SIZE, SIZE, 3), np.uint8)
    for index in range(repeats):
        rng = np.random.default_rng(index)
        record = samples.annotations[index]
        image = timed("read_and_decode", record.read)
        sample = Sample(image, record.boxes, record.labels, record.crowd)
        sample = timed("min_iou_crop", transforms.min_iou_crop, sample, rng)
        sample = timed("resize", transforms.fit, sample, (SIZE, SIZE), keep_aspect=False)
        sample = timed("flip", transforms.flip, sample, rng)
        sample = timed("photometric", transforms.photometric, sample, rng)
        timed("assign_7_objects", samples.assigner, record.boxes, record.crowd)
        timed("assign_after_crop", samples.assigner, sample.boxes, sample.crowd)
        timed("copy_into_batch", np.copyto, target, sample.image)
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def serve_peer(folder: str, boxes_file: str) -> None:
    """Passes over all files with torchvision, one for every line on standard input."""
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
            v2.Resize((SIZE, SIZE), antialias=False),
            v2.SanitizeBoundingBoxes(),
        ]
    )
    records = json.loads(Path(boxes_file).read_text())
    for _ in sys.stdin:
        started = time.process_time()
        for name, boxes, labels in records:
            with Image.open(Path(folder) / name) as image:
                pixels = v2.functional.pil_to_tensor(image.convert("RGB"))
            target = {
                "boxes": tv_tensors.BoundingBoxes(
                    boxes, format="XYXY", canvas_size=(HEIGHT, WIDTH)
                ),
                "labels": torch.tensor(labels),
            }
            transform(tv_tensors.Image(pixels), target)
        print((time.process_time() - started) / len(records), flush=True)


class Peer:
    """torchvision's preset in a process of another interpreter."""

    def __init__(self, python: str, folder: Path, annotations):
        boxes = folder.parent / "boxes.json"
        records = [annotations[i] for i in range(FILES)]
        rows = [(r.path.name, r.boxes.tolist(), r.labels.tolist()) for r in records]
        boxes.write_text(json.dumps(rows))
        self.process = subprocess.Popen(
            [python, __file__, "--serve", str(folder), str(boxes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def seconds_per_image(self) -> float:
        """CPU seconds an image of one pass."""
        self.process.stdin.write("pass\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with status {self.process.wait()}")
        return float(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(folder: Path, peer_python: str, repeats: int) -> dict:
    """All figures; each repeat runs every variant once, so that noise meets them alike."""
    import cv2

    from src.data.loader import TrainLoader
    from src.data.workers import layout_bytes

    cv2.setNumThreads(1)
    file_bytes = write_images(folder)
    annotations = make_annotations(folder)
    samples = {preset: make_samples(annotations, preset) for preset in ("ssd", "ssd_expand")}
    loaders = {
        name: TrainLoader(samples[preset], batch_size=BATCH, workers=workers)
        for name, preset, workers in (
            ("ssd", "ssd", 0),
            ("ssd_expand", "ssd_expand", 0),
            ("one worker", "ssd", 1),
            ("two workers", "ssd", 2),
        )
    }
    peer = Peer(peer_python, folder, annotations) if peer_python else None
    seconds: dict[str, list[float]] = {name: [] for name in (*loaders, "peer")}
    for repeat in range(repeats + 1):  # the first starts the workers and warms up
        for name, loader in loaders.items():
            wall, cpu = time_epoch(loader, repeat)
            seconds[name].append(wall if "worker" in name else cpu)
        if peer:
            seconds["peer"].append(peer.seconds_per_image())
    for closable in (*loaders.values(), *([peer] if peer else [])):
        closable.close()
    speed = {name: 1 / statistics.median(v[1:]) for name, v in seconds.items() if v}
    pairs = list(zip(seconds["one worker"], seconds["two workers"]))[1:]
    scaling = [one / two for one, two in pairs]
    figures = {
        "mean_file_bytes": round(file_bytes),
        "images_per_core_second": round(speed["ssd"], 1),
        "images_per_core_second_ssd_expand": round(speed["ssd_expand"], 1),
        "stage_milliseconds": time_stages(samples["ssd"], RECORDS // 2),
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has torchvision")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve_peer(*args.serve)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        folder.mkdir()
        figures = measure(folder, args.peer, args.repeats)
    print(json.dumps({"benchmark": "input_pipeline", "repeats": args.repeats, **figures}))


if __name__ == "__main__":
    main()
