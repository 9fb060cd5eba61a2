"""Classes from the data, where the configuration names none."""

import json

import cv2
import numpy as np
import pytest

from src.config.configuration import make_config
from src.data.classes import with_classes
from src.data.dataset import Source, build_annotations
from src.runtime.errors import InputError
from tests.spoiled import write_voc


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))


@pytest.fixture
def resolve(tmp_path):
    """Writes nothing; gives the classes of keys, and the line about them."""

    def resolve(**keys):
        lines = []
        cfg = make_config([({"output_path": str(tmp_path / "run"), **keys}, "test")])
        return with_classes(cfg, lines.append).classes, "\n".join(lines)

    return resolve


@pytest.fixture
def coco(tmp_path):
    """Writes COCO's folders with these categories, and an object of each id."""

    def coco(categories, used, split="train2017"):
        picture(tmp_path / split / "a.png")
        content = {
            "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
            "annotations": [
                {"id": n, "image_id": 1, "category_id": c, "bbox": [n, 2, 9, 8], "iscrowd": 0}
                for n, c in enumerate(used)
            ],
            "categories": categories,
        }
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return str(tmp_path)

    return coco


def test_categories_come_in_the_order_of_their_ids(coco, resolve, tmp_path):
    root = coco([{"id": 9, "name": "owl"}, {"id": 2, "name": "tit"}, {"id": 5, "name": "jay"}], [9])
    classes, line = resolve(coco_root=root)
    assert classes == ("background", "tit", "jay", "owl")
    path = tmp_path / "annotations" / "instances_train2017.json"
    assert line == f"{path}: its categories by id: 3 classes: tit, jay, owl"


@pytest.mark.parametrize(
    ("categories", "used", "expected"),
    [
        # Roboflow: a root without annotations over all others
        ([(0, "birds", "none"), (1, "owl", "birds"), (2, "jay", "birds")], [1], ("owl", "jay")),
        # a project called like its only class
        ([(0, "owl", "none"), (1, "owl", "owl")], [1], ("owl",)),
        # with annotations it is a class, as is one without that nothing is below
        (
            [(0, "bird", "none"), (1, "owl", "bird"), (2, "jay", "bird")],
            [0],
            ("bird", "owl", "jay"),
        ),
        ([(0, "bird", "animal"), (1, "owl", "animal")], [], ("bird", "owl")),
        # COCO's person has itself as supercategory
        ([(1, "person", "person"), (2, "car", "vehicle")], [2], ("person", "car")),
        ([(0, "background", None), (1, "owl", None)], [1], ("owl",)),
        ([(1, "owl", None), (2, "BACKGROUND", None)], [1], ("owl",)),
    ],
)
def test_roots_and_the_background_are_no_classes(coco, resolve, categories, used, expected):
    entries = [dict(zip(("id", "name", "supercategory"), values)) for values in categories]
    classes, line = resolve(coco_root=coco(entries, used))
    assert classes == ("background", *expected)
    assert ("without the root" in line) == (
        len(categories) > len(expected) and "none" in str(entries)
    )


def test_of_a_split_that_is_only_evaluated(coco, resolve):
    root = coco([{"id": 1, "name": "owl"}], [1], split="val2017")
    assert resolve(coco_root=root)[0] == ("background", "owl")


def test_given_classes_stay(resolve):
    assert resolve(coco_root="nowhere", classes=["owl"]) == (("background", "owl"), "")


def test_what_stops_a_run(coco, resolve, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        resolve(coco_root="nowhere")
    with pytest.raises(InputError, match=r"names no class \(its categories by id\); name them"):
        resolve(coco_root=coco([{"id": 1, "name": "background"}], []))
    with pytest.raises(InputError, match="num_classes is 9 but classes has 2 entries"):
        resolve(coco_root=coco([{"id": 1, "name": "owl"}], [1]), num_classes=9)


def test_names_of_voc_are_sorted(tmp_path, resolve):
    for number, name in enumerate(("owl", "jay", "owl")):
        picture(tmp_path / "JPEGImages" / f"{number}.jpg")
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        path = tmp_path / "Annotations" / f"{number}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"<annotation><object><name>{name}</name>{box}</object></annotation>")
    path = tmp_path / "ImageSets" / "Main" / "train.txt"
    path.parent.mkdir(parents=True)
    path.write_text("0\n1\n2\n")
    keys = {"dataset": "voc", "voc_root": str(tmp_path), "train_split": "train"}
    classes, line = resolve(**keys)
    assert classes == ("background", "jay", "owl")
    assert line == f"{path}: the classes of its objects: 2 classes: jay, owl"


@pytest.fixture
def text(tmp_path):
    """Writes a text file of boxes of these classes, and gives its keys."""

    def text(*names, listed=None):
        picture(tmp_path / "a.png")
        boxes = " ".join(f"{n},2,{n + 5},9,{name}" for n, name in enumerate(names))
        (tmp_path / "boxes.txt").write_text(f"# boxes\na.png {boxes}\n")
        if listed is not None:
            (tmp_path / "classes.txt").write_text(listed)
        path = str(tmp_path / "boxes.txt")
        return {"dataset": "other", "anno_path": path, "image_dir": str(tmp_path)}

    return text


def test_names_in_a_text_file(text, resolve, tmp_path):
    keys = text("owl", "jay", "owl")
    classes, line = resolve(**keys)
    assert classes == ("background", "jay", "owl")
    assert line.endswith("boxes.txt: the classes of its boxes: 2 classes: jay, owl")
    found = build_annotations(make_config([({**keys, "classes": classes}, "")]), training=True)
    assert found.labels.tolist() == [1, 0, 1]


def test_numbers_in_a_text_file_are_named(text, resolve):
    classes, line = resolve(**text("3", "1"))
    assert classes == ("background", "class_1", "class_2", "class_3")
    assert "numbers for classes (name the classes with --classes, or a line each in" in line


@pytest.mark.parametrize("listed", ["jay\nowl\n", "background\njay\nowl", "\ufeffjay\r\n\r\nowl"])
def test_classes_txt_beside_the_text_file(text, resolve, listed):
    keys = text("2", "1", "owl", listed=listed)
    classes, line = resolve(**keys)
    assert classes == ("background", "jay", "owl")
    assert "the names in " in line and "classes.txt: 2 classes: jay, owl" in line
    found = build_annotations(make_config([({**keys, "classes": classes}, "")]), training=True)
    assert found.labels.tolist() == [1, 0, 1]


def test_a_name_twice_in_classes_txt(text, resolve):
    with pytest.raises(InputError, match="classes.txt: line 2: 'owl' is on line 1 already"):
        resolve(**text("1", listed="owl\nowl\n"))


def test_numbers_that_are_part_of_the_names_stay(text, resolve):
    assert resolve(**text("1", listed="50 km\n70 km\n"))[0] == ("background", "50 km", "70 km")


def test_a_name_without_quotes_gives_no_class(text, resolve):
    """Of "hot dog" the first word would be one."""
    assert resolve(**text("owl"))[0] == ("background", "owl")
    with pytest.raises(InputError, match="line 2: '1,2,6,9,hot dog': a path with spaces"):
        resolve(**text("owl", "hot dog"))


def test_a_number_counts_the_background_whether_it_is_written_or_not(text):
    keys = text("2", "1")
    for classes in (["background", "jay", "owl"], ["jay", "owl"]):
        found = build_annotations(make_config([({**keys, "classes": classes}, "")]), training=True)
        assert found.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("1", "owl"), r"line 2 has a class by number \(1\), line 2 by name \('owl'\); name the"),
        (("0", "1"), "line 2: class 0; expected 1 to 10000, since 0 is the background"),
        (("1", "99999"), "line 2: class 99999; expected 1 to 10000"),
        ((), "names no class .the classes of its boxes."),
    ],
)
def test_text_files_without_clear_classes(text, resolve, names, message):
    with pytest.raises(InputError, match=message):
        resolve(**text(*names))


def test_names_with_spaces_are_quoted(tmp_path, resolve):
    picture(tmp_path / "a.png")
    (tmp_path / "boxes.txt").write_text("a.png \"1,2,9,8,hot dog\" '3,2,9,8,traffic light'\n")
    keys = {"dataset": "other", "anno_path": str(tmp_path / "boxes.txt")}
    classes, _ = resolve(**keys, image_dir=str(tmp_path))
    assert classes == ("background", "hot dog", "traffic light")


def test_names_that_need_all_files_are_kept(tmp_path, resolve, monkeypatch):
    own = write_voc(tmp_path / "voc")
    xml, reads = tmp_path / "voc" / "Annotations" / "a.xml", []
    read = Source.read_whole
    monkeypatch.setattr(Source, "read_whole", lambda self: reads.append(1) or read(self))
    assert [resolve(**own)[0] for _ in range(2)] == [("background", "cat")] * 2
    assert len(reads) == 1
    xml.write_text(xml.read_text().replace("cat", "owl"))
    assert resolve(**own)[0] == ("background", "cat", "owl")
    for entry in (tmp_path / ".annotations").glob("classes-*.json"):
        entry.write_text('{"damaged": [')
    assert resolve(**own)[0] == ("background", "cat", "owl")
    assert len(reads) == 3
