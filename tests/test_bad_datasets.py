"""Bad inputs of every kind, and what happens; docs/datasets.md has the table.

`UPDATE_DOCS=1 python -m pytest tests/test_bad_datasets.py` rewrites the table.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from src.config.configuration import Config, make_config
from src.data.dataset import build_annotations
from src.data.decoding import check_images, check_sizes
from src.data.problems import Problems
from src.runtime.errors import InputError
from tests.conftest import REPOSITORY
from tests.spoiled import (
    BOX,
    IMAGE,
    JSON,
    LIST,
    TXT,
    WRITERS,
    XML,
    add_root,
    as_csv,
    as_shares,
    in_bytes,
    in_first,
    in_json,
    in_text,
    mark_background,
    moved,
    other_size,
    repeat_first_box,
    turn_image,
    without,
    without_size,
)

DOCUMENT = REPOSITORY / "docs" / "datasets.md"
BEGIN, END = "<!-- table written by tests/test_bad_datasets.py -->", "<!-- end of the table -->"
STOPS, DAMAGED, REPAIRED, READ = "stops the run", "replaced", "repaired", "used as it is"


@dataclass(frozen=True)
class Case:
    """A way to spoil a valid data set of three images, and what must happen."""

    format: str
    title: str
    spoil: Callable[[Path], None]
    expected: str
    changes: dict = field(default_factory=dict)


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
