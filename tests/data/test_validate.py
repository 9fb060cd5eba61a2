import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.dataset import find_source
from src.data.decoding import check_images
from src.data.problems import Problems
from src.data.signs.strengths import describe_strengths
from src.data.synthetic import write_dataset
from src.data.validate import main, report
from src.distributed.command import exit_with_status


@pytest.fixture
def own(small, tmp_path):
    """A data set that a test may spoil."""
    write_dataset(tmp_path / "own", train=30, val=5, seed=5)
    return small.replace(coco_root=str(tmp_path / "own"))


@pytest.fixture
def spoilt(own):
    """Of its training images one is missing, one damaged, one of another size; one box is out."""
    root = Path(own.coco_root)
    content = json.loads(annotation_file(own).read_text())
    content["annotations"][0]["bbox"] = [-4, 0, 60, 60]
    annotation_file(own).write_text(json.dumps(content))
    paths = [root / "train2017" / image["file_name"] for image in content["images"]]
    shapes = [(image["width"], image["height"]) for image in content["images"]]
    other = next(path for path, shape in zip(paths, shapes) if shape != shapes[7])
    paths[5].write_bytes(paths[5].read_bytes()[:-200])
    paths[7].write_bytes(other.read_bytes())
    paths[9].unlink()
    return own


def annotation_file(cfg):
    return Path(cfg.coco_root) / "annotations" / "instances_train2017.json"


def run(cfg, tmp_path, *flags):
    """Runs the command; returns its exit status."""
    (tmp_path / "config.yaml").write_text(cfg.to_yaml())
    try:
        exit_with_status(partial(main, [f"--config_path={tmp_path / 'config.yaml'}", *flags]))
    except SystemExit as end:
        return end.code
    return 0


def test_what_is_held_out_and_what_has_no_effect_is_told(own, tmp_path, capsys):
    flags = ("--val_share=0.1", "--augmentation=flip", "--hue_strength=0.1", "--colour_strength=0")
    assert run(own, tmp_path, *flags) == 0
    out = capsys.readouterr().out
    assert "of 30 images held out for evaluation" in out and "by class: ellipse " in out
    assert "no_effect: hue_strength is 0.1, which does nothing with augmentation flip" in out
    assert out.endswith("fit for training, 2 warnings: no_effect\n")  # of colours too


def test_strengths_that_the_preset_uses_are_described(own):
    cfg = own.replace(augmentation="ssd", crop_scale=[0.05, 0.1], colour_strength=0.9)
    assert describe_strengths(cfg) == ", crop_scale [0.05, 0.1], colour_strength 0.9"
    assert describe_strengths(cfg.replace(augmentation="flip")) == ""


def test_sound_data_set(own, tmp_path, capsys):
    assert run(own, tmp_path) == 0
    out = capsys.readouterr().out
    assert out.count("0 errors\n0 repairs\n") == 2
    assert "30 images (1 without objects)" in out
    assert "5 images" in out
    assert out.endswith("fit for training\n")
    path = tmp_path / "run" / "data" / "report.html"
    assert f"page: {path}" in out
    assert "<b>fit for training</b>" in path.read_text()


def test_name_that_is_not_utf8(own, tmp_path, capsys):
    content = json.loads(annotation_file(own).read_text())
    folder = Path(own.coco_root) / "train2017"
    for image in content["images"]:  # all, since the page shows some
        name = f"caf\udce9 {image['file_name']}"
        (folder / image["file_name"]).rename(folder / name)
        image["file_name"] = name
    annotation_file(own).write_text(json.dumps(content))
    assert run(own, tmp_path) == 0
    assert capsys.readouterr().out.endswith("fit for training\n")
    assert "caf\\xe9 " in (tmp_path / "run" / "data" / "report.html").read_text("utf-8")


def test_everything_that_is_wrong_is_listed(spoilt, tmp_path, capsys):
    path = tmp_path / "reports" / "report.json"
    assert run(spoilt, tmp_path, "--report", str(path), "--eval_interval=0") == 2
    out, err = capsys.readouterr()
    assert "3 errors:\n  image 9: no such file" in out
    assert "image 5: " in out
    assert "damaged, or cut off?" in out
    assert "was it resized or rotated?" in out
    assert "1 repair:\n  annotation 1 (image 0): box clipped to the image" in out
    assert "not fit for training: 3 errors" in err
    (split,) = json.loads(path.read_text())
    assert [e["where"] for e in split["errors"]] == ["image 9", "image 5", "image 7"]
    assert split["repairs"][0]["what"] == "box clipped to the image"
    assert split["source"].endswith("instances_train2017.json")


@pytest.mark.parametrize("workers", [0, 3])
def test_images_are_checked_in_order_whatever_the_workers(spoilt, workers):
    annotations, problems = find_source(spoilt, training=True).read()
    _, decoded = check_images(annotations, problems, workers=workers)
    sizes = decoded.sizes
    assert [e.where for e in problems.errors] == ["image 9", "image 5"]
    assert np.flatnonzero((sizes != annotations.sizes).any(axis=1)).tolist() == [5, 7, 9]
    assert sizes[5].tolist() == sizes[9].tolist() == [0, 0]


def test_report_shows_twenty_and_counts_all(tmp_path):
    problems = Problems(tmp_path / "x.json")
    for number in range(1234):
        problems.error(f"image {number}", "damaged")
    lines = list(report(problems))
    assert lines[0] == "1,234 errors:"
    assert lines[20] == "  image 19: damaged"
    assert lines[21:] == ["  and 1,214 more", "0 repairs", "0 warnings"]
    assert len(problems.to_dict()["errors"]) == 1234


def test_images_unreadable_for_one_cause_are_one_line(own, tmp_path, capsys):
    annotations, _ = find_source(own, training=True).read()
    paths = [record.path for record in annotations]
    for number, path in enumerate(paths[:-3]):
        cv2.imwrite(f"{path}.tif", np.full((30, 40), number / 100, np.float32))
        Path(f"{path}.tif").rename(path)
    for path in paths[-3:-1]:
        Image.new("L", (40, 30)).save(path, "GIF")
    paths[-1].write_bytes(b"")
    assert run(own, tmp_path, f"--report={tmp_path / 'r.json'}", "--eval_interval=0") == 2
    out, ids = capsys.readouterr().out, annotations.image_ids
    assert f"{len(paths)} errors:\n  image {ids[0]} and {len(paths) - 4} more: {paths[0]}: " in out
    assert "has float32 pixels, 0 to 0, which are not read; scale" in out
    assert [line.partition(": ")[2] for line in out.splitlines() if "  image " in line][1:] == [
        f"{paths[-3]}: is GIF, which is not read; convert it to JPEG or PNG",
        f"{paths[-2]}: is GIF, which is not read; convert it to JPEG or PNG",
        f"{paths[-1]}: is empty (0 bytes)",
    ]
    (split,) = json.loads((tmp_path / "r.json").read_text())
    assert [error["where"] for error in split["errors"]] == [f"image {i}" for i in ids]


def test_nothing_to_train_on(own, tmp_path, capsys):
    content = json.loads(annotation_file(own).read_text())
    annotation_file(own).write_text(json.dumps({**content, "annotations": []}))
    assert run(own, tmp_path, "--eval_interval=0") == 2
    assert "no objects in it" in capsys.readouterr().out


def test_unknown_flags_and_unwritable_reports(own, tmp_path, capsys):
    assert run(own, tmp_path, "--reprot=x") == 2
    assert "unknown argument '--reprot=x'" in capsys.readouterr().err
    assert run(own, tmp_path, "--report") == 2
    assert "expected one argument" in capsys.readouterr().err
    assert run(own, tmp_path, f"--report={tmp_path / 'config.yaml' / 'x.json'}") == 2
    assert "set --report to another folder" in capsys.readouterr().err


def test_unreadable_annotations_are_in_the_report_beside_the_other_split(own, tmp_path, capsys):
    (Path(own.coco_root) / "annotations" / "instances_val2017.json").write_text("{")
    assert run(own, tmp_path, f"--report={tmp_path / 'r.json'}") == 2
    assert "instances_val2017.json: not a json file" in capsys.readouterr().out
    first, second = json.loads((tmp_path / "r.json").read_text())
    assert first["errors"] == []
    assert "not a json file" in second["errors"][0]["what"]


def test_wrong_paths_are_reported_before_anything_is_read(own, tmp_path, capsys):
    assert run(own.replace(val_split="nowhere"), tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "instances_nowhere.json: no such file" in err
