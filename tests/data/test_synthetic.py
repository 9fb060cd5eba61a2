import json

import cv2
import pytest

from src.data.synthetic import (
    CATEGORY_IDS,
    CLASSES,
    draw_image,
    mask_box,
    shape_mask,
    write_dataset,
)


def load(root, split):
    return json.loads((root / "annotations" / f"instances_{split}.json").read_bytes())


def test_drawing_is_deterministic(tmp_path):
    for name in ("a", "b"):
        write_dataset(tmp_path / name, train=3, val=2, seed=5)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_splits_share_no_image_and_fit_their_files(tmp_path):
    write_dataset(tmp_path, train=4, val=3)
    train, val = load(tmp_path, "train2017"), load(tmp_path, "val2017")
    assert not {i["id"] for i in train["images"]} & {i["id"] for i in val["images"]}
    for split, content in (("train2017", train), ("val2017", val)):
        for image in content["images"]:
            pixels = cv2.imread(str(tmp_path / split / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3)


def test_what_the_data_set_promises():
    drawn = [draw_image(0, index) for index in range(100)]
    annotations = [a for _, objects in drawn for a in objects]
    sides = [max(a["bbox"][2:]) for a in annotations]
    assert {a["category_id"] for a in annotations} == set(CATEGORY_IDS)
    assert len(CLASSES) == len(CATEGORY_IDS) == 4
    assert min(sides) < 26
    assert max(sides) > 100
    assert sum(a.get("iscrowd", 0) for a in annotations) == 4
    assert sum(not objects for _, objects in drawn) == 5
    assert len({image.shape for image, _ in drawn}) == 4


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("box", [(5, 8, 21, 23), (0, 0, 40, 30), (7, 3, 20, 28)])
def test_shapes_touch_all_sides_of_their_box(kind, box):
    x1, y1, x2, y2 = box
    mask = shape_mask(kind, 30, 40, x1, y1, x2, y2)
    assert mask_box(mask) == [x1, y1, x2 - x1, y2 - y1]


def test_annotated_boxes_lie_in_the_image():
    for index in range(1, 12):
        image, objects = draw_image(0, index)
        height, width = image.shape[:2]
        for item in objects:
            x, y, w, h = item["bbox"]
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
            assert 0 < item["area"] <= w * h


def test_whole_split_is_not_drawn_again(tmp_path):
    write_dataset(tmp_path, train=2, val=1)
    picture = tmp_path / "train2017" / "000000.jpg"
    before = picture.stat().st_mtime_ns
    write_dataset(tmp_path, train=2, val=1)
    assert picture.stat().st_mtime_ns == before
    write_dataset(tmp_path, train=2, val=1, seed=1)
    assert picture.stat().st_mtime_ns != before
