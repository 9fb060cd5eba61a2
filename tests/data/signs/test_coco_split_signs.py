"""Signs of drawn data sets in COCO's format whose file or images were changed."""

import json

import pytest
from PIL import Image

from src.config.configuration import make_config
from src.data.dataset import build_annotations
from src.data.synthetic import CLASSES, write_dataset
from src.data.validate import main
from src.runtime.errors import InputError

ORIENTATION = 0x0112  # the tag in EXIF


def drawn(root, *, train=6, val=6, change=lambda content: None, split="train2017"):
    """Writes a data set, changes the content of a split's file, and gives the configuration."""
    write_dataset(root, train=train, val=val, seed=3)
    path = root / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    keys = {"dataset": "coco", "coco_root": str(root), "output_path": str(root / "run")}
    keys |= {"classes": list(CLASSES), "image_size": [64, 64], "batch_size": 2, "num_workers": 0}
    return make_config([(keys, "test")])


def turn(root, images, orientation):
    """Marks images as turned, and leaves their pixels."""
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    for image in images:
        path = root / "train2017" / image["file_name"]
        Image.open(path).save(path, exif=tags)


def test_drawn_splits_are_sound(tmp_path):
    cfg = drawn(tmp_path, train=120, val=40)
    for training in (True, False):
        found = build_annotations(cfg, training=training)
        assert found.signs == found.turned == ()


def test_pictures_of_both_splits_that_were_saved_anew(tmp_path, capsys):
    cfg = drawn(tmp_path, train=12)
    source = json.loads((tmp_path / "annotations" / "instances_train2017.json").read_text())
    source = source["images"][2]
    image = Image.open(tmp_path / "train2017" / source["file_name"]).convert("RGB")
    image.save(tmp_path / "val2017" / "anew.jpg", quality=90)
    path = tmp_path / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    sizes = {side: source[side] for side in ("width", "height")}
    content["images"][1] |= {"file_name": "anew.jpg", **sizes}
    path.write_text(json.dumps(content))
    (tmp_path / "config.yaml").write_text(cfg.to_yaml())
    main([f"--config_path={tmp_path / 'config.yaml'}"])
    pair = f"(anew.jpg as {source['file_name']})"
    out = capsys.readouterr().out
    assert f"1 of 6 images to evaluate on are in the training split too {pair}" in out


def test_annotated_size_of_the_turned_picture(tmp_path):
    def as_seen(content):
        turn(tmp_path, content["images"], 8)
        for image in content["images"]:
            image["width"], image["height"] = image["height"], image["width"]
        for item in content["annotations"]:
            item["bbox"] = [item["bbox"][i] for i in (1, 0, 3, 2)]

    cfg = drawn(tmp_path, change=as_seen)
    with pytest.raises(InputError, match="turned: EXIF orientations in 6 of 6 images"):
        build_annotations(cfg, training=True)


def test_corners_are_not_taken_for_a_turn(tmp_path):
    def as_corners(content):
        turn(tmp_path, content["images"][::2], 6)
        for item in content["annotations"]:
            x, y, width, height = item["bbox"]
            item["bbox"] = [x, y, x + width, y + height]

    cfg = drawn(tmp_path, train=24, change=as_corners)
    with pytest.raises(InputError, match="1 error\n  box_format: .*none if read as two corners"):
        build_annotations(cfg, training=True)


@pytest.mark.parametrize("area", [0, -1, None])
def test_objects_without_an_area_have_that_of_their_box(tmp_path, area):
    objects = []

    def without_area(content):
        content["annotations"][0]["area"] = area
        objects.extend(content["annotations"])

    split = build_annotations(drawn(tmp_path, change=without_area, split="val2017"), training=False)
    width, height = objects[0]["bbox"][2:]
    assert split.objects()["area"][:2].tolist() == [width * height, objects[1]["area"]]
