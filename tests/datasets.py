"""Writes a split in the other formats."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from src.data.annotations import CROWDS, Annotations


def make_split(images, *, classes: int, regions: str = CROWDS) -> Annotations:
    """A split of images of 100 x 100 in arrays, without files.

    Args:
        images: of each its objects, (box, label) or (box, label, True) for an ignored region.
        regions: what ignored regions are.
    """
    objects = [(*entry, False)[:3] for entries in images for entry in entries]
    return Annotations(
        source=Path("split.json"),
        image_dir=Path("images"),
        file_names=np.array([f"{i}.jpg".encode() for i in range(len(images))]),
        image_ids=np.arange(1, len(images) + 1),
        sizes=np.full((len(images), 2), 100, np.int32),
        offsets=np.cumsum([0, *map(len, images)]),
        boxes=np.array([o[0] for o in objects], np.float32).reshape(-1, 4),
        labels=np.array([o[1] for o in objects], np.int32),
        crowd=np.array([o[2] for o in objects], bool),
        category_ids=tuple(range(1, classes + 1)),
        regions=regions,
    )


def split_of_images(folder: Path, sizes) -> Annotations:
    """A split of the images 0.png, 1.png, .. in a folder, of these (width, height), no objects."""
    return replace(
        make_split([[] for _ in sizes], classes=1),
        source=folder,
        image_dir=folder,
        file_names=np.array([f"{i}.png".encode() for i in range(len(sizes))]),
        image_ids=np.arange(10, 10 + len(sizes)),
        sizes=np.array(sizes, np.int32),
    )


def make_rows(*detections) -> np.ndarray:
    """Detections (image number from 0, box x1 y1 x2 y2, label, score) in COCO's array form."""
    return np.array(
        [
            [image + 1, x1, y1, x2 - x1, y2 - y1, score, label + 1]
            for image, (x1, y1, x2, y2), label, score in detections
        ],
        float,
    ).reshape(-1, 7)


def write_video(path: Path, frames: int, rate: float = 8) -> None:
    """A video of 64 x 48, `rate` frames a second, that gets redder, by 30 of 255 a frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 30 * number), np.uint8))
    writer.release()


def write_txt(annotations: Annotations, path: Path) -> None:
    """The split as a text file; crowd regions, which it does not know, are left out."""
    lines = []
    for record in annotations:
        objects = [
            f"{','.join(f'{v:g}' for v in box)},{label + 1}"
            for box, label, crowd in zip(record.boxes, record.labels, record.crowd)
            if not crowd
        ]
        lines.append(" ".join([f'"{record.path.name}"', *objects]))
    path.write_text("# path and boxes\n\n" + "\n".join(lines) + "\n")


def write_voc(annotations: Annotations, root: Path, split: str, names: tuple[str, ...]) -> None:
    """The split in Pascal VOC's folders, its images copied; crowd regions become difficult."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for record in annotations:
        objects = [
            object_xml(names[label], box, difficult)
            for box, label, difficult in zip(record.boxes, record.labels, record.crowd)
        ]
        (root / "Annotations" / f"{record.path.stem}.xml").write_text(
            f"<annotation><size><width>{record.width}</width><height>{record.height}</height>"
            f"<depth>3</depth></size>{''.join(objects)}</annotation>"
        )
        target = root / "JPEGImages" / record.path.name
        target.write_bytes(record.path.read_bytes())
    stems = "".join(f"{record.path.stem}\n" for record in annotations)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text(stems)


def object_xml(name: str, box, difficult: bool) -> str:
    """An <object>; VOC counts pixels from 1 and includes the last."""
    x1, y1, x2, y2 = box
    return (
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox>"
        f"<xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax>"
        "</bndbox></object>"
    )
