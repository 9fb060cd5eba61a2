"""Bad inputs of every kind, and what happens; docs/datasets.md has the table.

`UPDATE_DOCS=1 python -m pytest tests/test_bad_datasets.py` rewrites the table.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from src.config.configuration import Config, make_config
from src.data.dataset import build_annotations
from src.data.decoding import check_images
from src.data.problems import Problems
from src.data.size_check import check_sizes
from src.runtime.errors import InputError
from tests.conftest import REPOSITORY
from tests.datasets import object_xml

DOCUMENT = REPOSITORY / "docs" / "datasets.md"
BEGIN, END = "<!-- table written by tests/test_bad_datasets.py -->", "<!-- end of the table -->"
NAMES = ("a.png", "b.png", "c.png")  # of 40 x 30 pixels
STOPS, DAMAGED, REPAIRED, READ = "stops the run", "replaced", "repaired", "used as it is"


@dataclass(frozen=True)
class Case:
    """A way to spoil a valid data set of three images, and what must happen."""

    format: str
    title: str
    spoil: Callable[[Path], None]
    expected: str
    changes: dict = field(default_factory=dict)


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


CASES = [
    Case("coco", "folder missing", lambda root: None, STOPS, {"coco_root": "nowhere"}),
    Case("coco", "annotation file missing", without(JSON), STOPS),
    Case("coco", "json cut off", in_bytes(JSON, lambda data: data[:200]), STOPS),
    Case("coco", "no list of images", in_json(lambda c: c.pop("images")), STOPS),
    Case("coco", "image file missing", without(IMAGE), STOPS),
    Case("coco", "all in another folder", moved("train2017"), STOPS),
    Case("coco", "path with backslashes", in_first("images", file_name=".\\a.png"), REPAIRED),
    Case("coco", "image without a width", in_json(lambda c: c["images"][0].pop("width")), STOPS),
    Case("coco", "image without a size", in_json(without_size), REPAIRED),
    Case("coco", "id as text", in_first("annotations", image_id="1"), REPAIRED),
    Case(
        "coco",
        "outline without a box",
        in_first("annotations", bbox=None, segmentation=[[4, 5, 24, 5, 24, 25]]),
        REPAIRED,
    ),
    Case("coco", "category background", in_json(mark_background), REPAIRED),
    Case("coco", "root category of a class's name", in_json(add_root), REPAIRED),
    Case(
        "coco",
        "list of detections",
        lambda root: (root / JSON).write_text('[{"image_id": 1, "score": 0.5}]'),
        STOPS,
    ),
    Case("coco", "image id twice", in_first("images", id=2), STOPS),
    Case("coco", "box of an unknown image", in_first("annotations", image_id=9), STOPS),
    Case("coco", "box of three numbers", in_first("annotations", bbox=[1, 2, 3]), STOPS),
    Case("coco", "box that is not finite", in_first("annotations", bbox=[1, 2, 3, np.nan]), STOPS),
    Case("coco", "undefined category", in_first("annotations", category_id=7), STOPS),
    Case("coco", "class that no category has", in_first("categories", name="cta"), STOPS),
    Case("coco", "category not in classes", in_first("annotations", category_id=3), STOPS),
    Case(
        "coco",
        "the same with --unlisted_classes=drop",
        in_first("annotations", category_id=3),
        REPAIRED,
        {"unlisted_classes": "drop"},
    ),
    Case("coco", "no objects at all", in_json(lambda c: c.update(annotations=[])), STOPS),
    Case("coco", "box partly outside", in_first("annotations", bbox=[-4, 5, 20, 99]), REPAIRED),
    Case("coco", "boxes in shares of the sides", in_json(as_shares), STOPS),
    Case("coco", "size of the picture that EXIF turns", turn_image, STOPS),
    Case("coco", "box outside", in_first("annotations", bbox=[50, 5, 20, 20]), REPAIRED),
    Case("coco", "box without area", in_first("annotations", bbox=[4, 5, 0, 20]), REPAIRED),
    Case("coco", "box twice", in_json(repeat_first_box), REPAIRED),
    Case("coco", "crowd region", in_first("annotations", iscrowd=1), READ),
    Case("coco", "image without objects", in_json(lambda c: c["annotations"].pop()), READ),
    Case("other", "text file missing", without(TXT), STOPS),
    Case("other", "image folder missing", lambda root: None, STOPS, {"image_dir": "nowhere"}),
    Case("other", "image file missing", in_text(TXT, "b.png", "x.png"), STOPS),
    Case("other", "file of another suffix", in_text(TXT, "b.png", "b.jpg"), STOPS),
    Case("other", "folders in front", in_text(TXT, "b.png", "/home/me/b.png"), STOPS),
    Case(
        "other",
        "the same with --accept=[folders]",
        in_text(TXT, "b.png", "/home/me/b.png"),
        REPAIRED,
        {"accept": ["folders"]},
    ),
    Case("other", "all in another folder", moved("images"), STOPS),
    Case(
        "other", "the folder's own name in front", in_text(TXT, "b.png", "images/b.png"), REPAIRED
    ),
    Case("other", "another case", in_text(TXT, "b.png", "B.PNG"), REPAIRED),
    Case("other", "URL escapes", in_text(TXT, "b.png", "%62.png"), REPAIRED),
    Case("other", "CSV", in_bytes(TXT, as_csv), STOPS),
    Case("other", "UTF-16", in_bytes(TXT, lambda data: data.decode().encode("utf-16")), STOPS),
    Case("other", "four numbers", in_text(TXT, BOX, "4,5,24,25"), STOPS),
    Case("other", "spaces in a box", in_text(TXT, BOX, "4, 5, 24, 25, 1"), STOPS),
    Case("other", "letters in a box", in_text(TXT, BOX, "4,5,x,25,1"), STOPS),
    Case("other", "class by name", in_text(TXT, BOX, "4,5,24,25,cat"), READ),
    Case("other", "name that no class has", in_text(TXT, BOX, "4,5,24,25,cta"), STOPS),
    Case("other", "class 0", in_text(TXT, BOX, "4,5,24,25,0"), STOPS),
    Case("other", "class beyond the list", in_text(TXT, BOX, "4,5,24,25,3"), STOPS),
    Case("other", "image on two lines", in_text(TXT, "c.png", "a.png"), STOPS),
    Case("other", "quote that does not end", in_text(TXT, "b.png", '"b.png'), STOPS),
    Case("other", "not UTF-8", in_bytes(TXT, lambda data: data + b"\xe9"), STOPS),
    Case("other", "image header unreadable", in_bytes("images/b.png", lambda d: b"no"), STOPS),
    Case("other", "corners swapped", in_text(TXT, BOX, "24,25,4,5,1"), REPAIRED),
    Case("other", "decimals", in_text(TXT, BOX, "4.5,5.25,24,25,1"), READ),
    Case("other", "line without boxes", in_text(TXT, f" {BOX}", ""), READ),
    Case("other", "blank lines and # comments", in_text(TXT, "b.png", "\n# note\nb.png"), READ),
    Case("voc", "folder missing", lambda root: None, STOPS, {"voc_root": "nowhere"}),
    Case("voc", "list of the split missing", without(LIST), STOPS),
    Case("voc", "image file missing", without("JPEGImages/b.png"), STOPS),
    Case("voc", "annotation missing", without(XML), STOPS),
    Case("voc", "xml cut off", in_bytes(XML, lambda data: data[:60]), STOPS),
    Case(
        "voc", "second column of a class", in_bytes(LIST, lambda d: b"a  1\nb -1\nc  0\n"), REPAIRED
    ),
    Case("voc", "suffix in the list", in_text(LIST, "b", "b.png"), REPAIRED),
    Case("voc", "difficult of other tools", in_text(XML, "t>0", "t>Unspecified"), REPAIRED),
    Case("voc", "XML of another tool", in_bytes(XML, lambda d: b"<annotations/>"), STOPS),
    Case("voc", "corner missing", in_text(XML, "<xmin>5</xmin>", ""), STOPS),
    Case("voc", "class not in classes", in_text(XML, "<name>cat", "<name>cta"), STOPS),
    Case("voc", "image listed twice", in_text(LIST, "b", "a"), STOPS),
    Case("voc", "box partly outside", in_text(XML, "<xmax>24", "<xmax>44"), REPAIRED),
    Case("voc", "difficult object", in_text(XML, "<difficult>0", "<difficult>1"), READ),
    Case("all", "image of zero bytes", in_bytes(IMAGE, lambda data: b""), DAMAGED),
    Case("all", "image cut off", in_bytes(IMAGE, lambda data: data[:-900]), DAMAGED),
    Case("all", "text file called .png", in_bytes(IMAGE, lambda data: b"hello" * 99), DAMAGED),
    Case("all", "GIF called .png", in_bytes(IMAGE, lambda data: b"GIF89a" + data), DAMAGED),
    Case("all", "image of another size than annotated", in_bytes(IMAGE, other_size), DAMAGED),
]


def set_up(case: Case, root: Path) -> Config:
    """Writes the case's data set and returns a configuration that reads it."""
    root.mkdir()
    flags = WRITERS["coco" if case.format == "all" else case.format](root)
    if case.title.startswith(("category not in", "the same with --unl")):
        in_json(lambda c: c["categories"].append({"id": 3, "name": "cow"}))(root)
    case.spoil(root)
    keys = {**flags, "classes": ["background", "cat", "dog"], "output_path": str(root / "run")}
    return make_config([({**keys, **case.changes}, case.title)])


def outcome(cfg: Config) -> tuple[str, str]:
    """What happens to a run on this data set, and the message."""
    try:
        annotations = build_annotations(cfg, training=True)
    except InputError as error:
        return STOPS, str(error)
    problems = Problems(annotations.source)
    annotations, decoded = check_images(annotations, problems, workers=1)
    check_sizes(annotations, problems, decoded.sizes, turned=False)
    if problems.errors:
        return DAMAGED, "\n".join(map(str, problems.errors))
    if annotations.repairs:
        return REPAIRED, "\n".join(annotations.repair_lines)
    return READ, ""


def table_row(case: Case, happened: str, message: str, root: Path) -> str:
    """The case as a line of the document's table."""
    lines = message.replace(f"{root}/", "").replace(str(root), ".").split("\n  ")
    if len(lines) > 3:
        lines[2:] = [f"and {len(lines) - 2} more"]
    cells = [case.format, case.title, happened, "<br>".join(lines)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@pytest.fixture(scope="module")
def rows():
    """Lines of the table, collected by the tests below."""
    return []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}: {case.title}")
def test_bad_input_gets_what_the_document_says(case, tmp_path, rows):
    cfg = set_up(case, tmp_path / "data")
    happened, message = outcome(cfg)
    assert happened == case.expected, message
    row = table_row(case, happened, message, tmp_path / "data")
    rows.append(row)
    if "UPDATE_DOCS" not in os.environ:
        assert row in DOCUMENT.read_text().splitlines()


def test_document_has_these_rows_and_no_others(rows):
    if len(rows) < len(CASES):  # a selection of the tests was run
        pytest.fail("needs the rows of all cases: run the whole file")
    head = ["| format | what is wrong | what happens | message |", "|---|---|---|---|"]
    table = "\n".join([BEGIN, "", *head, *rows, "", END])
    text = DOCUMENT.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    if "UPDATE_DOCS" in os.environ:
        DOCUMENT.write_text(before + table + after)
    assert DOCUMENT.read_text() == before + table + after
