"""Everything suspicious has its picture on the page of a data set."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.dataset import build_annotations, find_source
from src.data.decoding import check_images, check_sizes
from src.data.page.album import EVIDENCE, NARROW, Album
from src.data.page.evidence import draw_all, kind_of, of_problems, of_sign
from src.data.page.findings import SplitFindings
from src.data.page.pictures import around, as_evidence, given_shape
from src.data.page.shapes import labels, rectangle
from src.data.problems import Problem, Problems
from src.data.signs.contents import equal_images, leaked_images
from src.data.signs.sizes import size_sign
from src.data.summary import build_summary
from src.data.synthetic import write_dataset
from src.detection.anchors import build_anchors


@pytest.fixture
def own(small, tmp_path):
    """A data set that a test may spoil."""
    write_dataset(tmp_path / "own", train=12, val=4, seed=5)
    return small.replace(coco_root=str(tmp_path / "own"))


def album():
    return Album(EVIDENCE, 1_000_000)


def split_of(cfg, role="training"):
    annotations = build_annotations(cfg, training=role == "training")
    summary = build_summary(cfg, annotations, build_anchors(cfg))
    return SplitFindings(role, Problems(annotations.source), annotations, summary)


def pictures(*parts):
    """What is drawn of parts of evidence, by part and group."""
    draw_all(parts, album())
    return [part.groups for part in parts]


def edit(cfg, change):
    """Changes the entries of the training split's annotations."""
    path = Path(cfg.coco_root) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    change(content["images"], content["annotations"])
    path.write_text(json.dumps(content))


def spoil(images, objects):
    objects[0]["bbox"] = [-30, -20, 90, 80]
    objects[1]["bbox"] = [900, 30, 40, 40]
    objects[2]["bbox"] = [float("nan"), 3, 4, 5]
    objects.append({**objects[4], "id": 99_999})
    objects.append({**objects[5], "id": 99_998, "bbox": [1, 2]})


def test_each_kind_of_error_and_repair_has_a_picture(own):
    edit(own, spoil)
    folder = Path(own.coco_root) / "train2017"
    names = sorted(path.name for path in folder.iterdir())
    (folder / names[6]).write_bytes((folder / names[6]).read_bytes()[:-300])
    (folder / names[7]).unlink()
    Image.new("RGB", (300, 40)).save(folder / names[8])
    source = find_source(own, training=True)
    annotations, problems = source.read()
    annotations, decoded = check_images(annotations, problems, source.search(), workers=1)
    check_sizes(annotations, problems, decoded.sizes, turned=False)
    summary = build_summary(own, annotations, build_anchors(own))
    split = SplitFindings("training", problems, annotations, summary)
    for found, number in ((problems.errors, 5), (problems.repairs, 3)):
        assert len(found) == number
        groups = pictures(*of_problems(found, split))
        assert [len(of_kind) for of_kind in groups] == [1] * number
        for problem, ((picture, *_),) in zip(found, groups):
            assert picture.caption.startswith(str(problem)[:60])
            unseen = "damaged" in problem.what or "no such file" in problem.what
            assert (picture.url == "") == unseen
    dropped, _, clipped = groups
    assert [problem.what for problem in problems.repairs][::2] == [
        "box without area inside the image dropped",
        "box clipped to the image",
    ]
    assert clipped[0][0].view[:2] == (-30, -20)
    assert clipped[0][0].shapes[0].box == (-30, -20, 60, 60)
    assert clipped[0][0].shapes[0].name == "in the file"
    assert dropped[0][0].shapes[0].name == "further out"


def test_leaked_and_equal_images_are_side_by_side(own):
    folder = Path(own.coco_root)
    train, val = (sorted((folder / f"{name}2017").iterdir()) for name in ("train", "val"))
    train[2].write_bytes(train[5].read_bytes())
    train[3].write_bytes(train[5].read_bytes())
    val[1].write_bytes(train[9].read_bytes())
    splits = [split_of(own, role) for role in ("training", "evaluation")]
    leak = leaked_images(*(split.annotations for split in splits))
    equal = equal_images(splits[0].annotations)
    (pair,), (three,) = pictures(of_sign(leak, *splits), of_sign(equal, splits[0], None))
    captions = [picture.caption.partition(":")[:2] for picture in pair]
    assert captions == [("training", ":"), ("evaluation", ":")]
    assert [picture.name for picture in pair] == [train[9].name, val[1].name]
    assert pair[0].url == pair[1].url  # the same pixels
    assert [picture.name for picture in three] == [train[row].name for row in (2, 3, 5)]


def test_equal_images_with_other_boxes_come_first(own):
    train = sorted((Path(own.coco_root) / "train2017").iterdir())

    def change(images, objects):
        by_name = {image["file_name"]: image for image in images}
        first, second = (by_name[train[row].name] for row in (0, 1))
        second.update(width=first["width"], height=first["height"])
        kept = [entry for entry in objects if entry["image_id"] != second["id"]]
        copies = [entry for entry in objects if entry["image_id"] == first["id"]]
        kept += [{**e, "id": e["id"] + 10**6, "image_id": second["id"]} for e in copies]
        objects[:] = kept

    edit(own, change)
    train[1].write_bytes(train[0].read_bytes())
    train[4].write_bytes(train[3].read_bytes())
    sign = equal_images(split_of(own).annotations)
    assert "2 pictures" in sign.found and "in 1 of them with different boxes" in sign.found
    assert sign.groups == ((3, 4), (0, 1))


def test_tiny_boxes_are_enlarged(own):
    def shrink(images, objects):
        for entry in objects:
            entry["bbox"][2:] = [2, 1.5]

    edit(own, shrink)
    split = split_of(own)
    sign = size_sign(split.summary)
    assert sign.name == "tiny" and len(sign.image_ids) == len(sign.boxes)
    (groups,) = pictures(of_sign(sign, split, None))
    assert len(groups) == 4
    for whole, large in groups:
        (box,) = [s.box for s in large.shapes if s.box in {shape.box for shape in whole.shapes}][:1]
        assert large.view[2] <= 17 and large.width / large.view[2] == pytest.approx(12, abs=0.5)
        left, top, width, height = large.view
        assert left <= box[0] and box[2] <= left + width
        assert top <= box[1] and box[3] <= top + height


def test_image_that_the_split_has_not_is_grey(own):
    problem = Problem("line 7", "no such file a.jpg", image_id=10**6)
    ((((picture,)),),) = pictures(*of_problems([problem], split_of(own)))
    assert (picture.url, picture.caption) == ("", "line 7: no such file a.jpg")


def test_two_of_many_alike_are_shown_with_their_number(own):
    split = split_of(own)
    found = [Problem(f"line {n}", f"box {n} is wrong", image_id=n) for n in range(12)]
    ((first, second),) = pictures(*of_problems(found, split))
    assert first[0].caption == "line 0: box 0 is wrong (one of 12 of this kind)"
    assert second[0].caption == "line 1: box 1 is wrong (one of 12 of this kind)"


def test_kinds():
    kinds = [
        kind_of(Problem("a", what))
        for what in (
            "box [1.0, nan] is not finite",
            "box [2.5, nan] is not finite",
            "/a b/c.jpg: no such file",
            "bbox is 'x y'; expected 4 numbers",
            "bbox is 'z'; expected 4 numbers",
        )
    ]
    assert kinds == [kinds[0]] * 2 + [kinds[2]] + [kinds[3]] * 2
    assert len(set(kinds)) == 3
    assert kind_of(Problem("a", "x/1: is GIF", "is GIF")) == "is GIF"


def test_view_and_box_by_hand():
    view = (0.0, 0.0, 100.0, 80.0)
    assert around(view, (10, 10, 20, 20)) == view
    assert around(view, (-10, 5, 130, 70)) == (-10, 0, 140, 80)
    assert around(view, (-1e9, 5, 1e9, 70)) == (-50, 0, 200, 80)
    assert given_shape((10, 20, 30, 30), view).box == (10, 20, 30, 30)
    assert given_shape((30, 30, 10, 20), view).box == (10, 20, 30, 30)  # the corners exchanged
    far = given_shape((500, 20, 600, 30), view)
    assert far.box == (98, 20, 100, 30)
    assert (far.name, far.text) == ("further out", "in the file: corners 500, 20, 600, 30")


def test_labels_do_not_overprint_and_fit_their_texts():
    boxes = np.array([[5, 5, 60, 60], [8, 6, 70, 50], [5, 40, 50, 90]])
    names = ("猫と犬", "rectangle", "x" * 50)
    shapes = [rectangle(box, (255, 255, 0), "", "object", n) for box, n in zip(boxes, names)]
    found = labels(shapes, (0, 0), (200, 100), 8)
    assert [label.text for label in found] == ["猫と犬", "rectangle", "x" * 21 + "…"]
    assert {label.ink for label in found} == {"#000000"}  # black on yellow
    assert found[0].text_width == pytest.approx(3 * 1.05 * 8)
    assert found[1].width == pytest.approx(found[1].text_width + 2 * 0.25 * 8, abs=0.1)
    for row, a in enumerate(found):
        for b in found[:row]:
            apart = a.x >= b.x + b.width or b.x >= a.x + a.width
            assert apart or a.y >= b.y + b.height or b.y >= a.y + a.height


def test_letters_are_readable_on_a_phone(own):
    record = split_of(own).annotations[0]
    (picture, *_) = as_evidence(album(), record, own.classes[1:])
    assert picture.letters * picture.width / picture.view[2] == pytest.approx(11, abs=0.1)
    assert picture.narrow_letters * NARROW / picture.view[2] == pytest.approx(9, abs=0.1)
