"""Small valid data sets of each format, and ways to spoil them."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from tests.datasets import object_xml

NAMES = ("a.png", "b.png", "c.png")  # of 40 x 30 pixels


def write_coco(root: Path) -> dict:
    write_images(root / "train2017")
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 40, "height": 30}
            for i, name in enumerate(NAMES, 1)
        ],
        "annotations": [
            {"id": 10 + i, "image_id": i, "category_id": 1, "bbox": [4, 5, 20, 20]}
            for i in (1, 2, 3)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return {"dataset": "coco", "coco_root": str(root)}


def write_txt(root: Path) -> dict:
    write_images(root / "images")
    (root / "boxes.txt").write_text("".join(f"{name} 4,5,24,25,1\n" for name in NAMES))
    return {
        "dataset": "other",
        "image_dir": str(root / "images"),
        "anno_path": str(root / "boxes.txt"),
    }


def write_voc(root: Path) -> dict:
    write_images(root / "JPEGImages")
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nc\n")
    for name in "abc":
        text = f"<annotation>{object_xml('cat', (4, 5, 24, 25), False)}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
    return {"dataset": "voc", "voc_root": str(root), "train_split": "train"}


def write_yolo(root: Path) -> dict:
    write_images(root / "images")
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    for name in "abc":
        (root / "labels" / f"{name}.txt").write_text("0 0.35 0.5 0.5 0.6667\n1 0.5 0.5 0.2 0.3\n")
    return {"dataset": "yolo", "yolo_root": str(root), "train_split": "train"}


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    for name in NAMES:
        cv2.imwrite(str(folder / name), noise)


WRITERS = {"coco": write_coco, "other": write_txt, "voc": write_voc, "yolo": write_yolo}


def in_json(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Spoils the json by changing its content."""

    def spoil(root: Path) -> None:
        path = root / "annotations" / "instances_train2017.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def in_text(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Spoils a text file by replacing the first `old` in it."""

    def spoil(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, 1))

    return spoil


def in_bytes(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Spoils a file by changing its bytes."""
    return lambda root: (root / path).write_bytes(change((root / path).read_bytes()))


def without(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def in_first(kind: str, **values) -> Callable[[Path], None]:
    """Changes fields of the json's first image, annotation or category."""
    return in_json(lambda content: content[kind][0].update(values))


JSON, TXT, XML = "annotations/instances_train2017.json", "boxes.txt", "Annotations/a.xml"
LIST, IMAGE = "ImageSets/Main/train.txt", "train2017/b.png"
BOX = "4,5,24,25,1"


def other_size(data: bytes) -> bytes:
    return cv2.imencode(".png", np.zeros((40, 30, 3), np.uint8))[1].tobytes()


def repeat_first_box(content: dict) -> None:
    content["annotations"].append({**content["annotations"][0], "id": 99})


def without_size(content: dict) -> None:
    content["images"][0].update(width=None, height=None)


def mark_background(content: dict) -> None:
    content["categories"].append({"id": 0, "name": "background"})
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 0, "bbox": [0, 0, 9, 9]})


def add_root(content: dict) -> None:
    content["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})


def as_shares(content: dict) -> None:
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x / 40, y / 30, width / 40, height / 30]


def turn_image(root: Path) -> None:
    """Marks the first image as turned by a quarter, and annotates it as viewers show it."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.open(root / "train2017" / "a.png").save(root / "train2017" / "a.png", exif=tags)
    in_first("images", width=30, height=40)(root)


def as_csv(data: bytes) -> bytes:
    return data.replace(b" ", b",")


def moved(folder: str) -> Callable[[Path], None]:
    """Moves the images to a folder beside theirs, which stays empty."""

    def spoil(root: Path) -> None:
        (root / folder).rename(root / "photos")
        (root / folder).mkdir()

    return spoil
