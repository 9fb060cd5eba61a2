"""small_data.py: which runs it makes and what it concludes; its drawn tiles."""

import json

import numpy as np

from benchmarks import drawn_tiles, ladder, small_data
from benchmarks.common import configure
from src.config.configuration import make_config
from src.data.dataset import build_annotations


def test_tiles(tmp_path):
    """Every object is where its box is, and touches no other."""
    drawn_tiles.write_tiles(tmp_path, train=3, val=2, seed=5)
    classes = ["background", *drawn_tiles.CLASSES]
    cfg = make_config([({"coco_root": str(tmp_path), "classes": classes}, "test")])
    train, val = (build_annotations(cfg, training=training) for training in (True, False))
    assert (len(train), len(val)) == (3, 2) and train.repairs == {}
    assert not set(train.image_ids) & set(val.image_ids)
    boxes = train[0].boxes
    assert len(boxes) == len(json.loads(train.source.read_bytes())["annotations"]) - sum(
        len(train[index].boxes) for index in (1, 2)
    )
    image, objects = drawn_tiles.draw_tile(5, 0)
    np.testing.assert_array_equal(boxes, [[x, y, x + w, y + h] for x, y, w, h in
                                          (item["bbox"] for item in objects)])  # fmt: skip
    assert np.abs(train[0].read().astype(int) - image).mean() < 8  # but for JPEG
    for item in objects:
        x, y, w, h = map(int, item["bbox"])
        assert 0 < item["area"] <= w * h


def test_runs_and_summary(run_script, tmp_path, monkeypatch):
    made = []

    def train(flags):
        cfg = configure(flags)
        made.append(cfg)
        ap = 0.1 * cfg.seed + (0.2 if cfg.augmentation == "flip" else 0.0)
        return {"AP": ap, "AP50": 2 * ap, "AP75": ap, "cpu_seconds": 10.0}

    monkeypatch.setattr(ladder, "train", train)
    monkeypatch.setattr(small_data, "SETS", {"tiles": (20, *small_data.SETS["tiles"][1:])})
    monkeypatch.setattr(small_data, "VAL_IMAGES", 2)
    rows = run_script(small_data, "--sets", "tiles", "--settings", "ssd", "flip", "--seeds=2",
                      "--updates=21", f"--folder={tmp_path}", "--image_size=[64,64]")  # fmt: skip
    assert [(cfg.augmentation, cfg.seed) for cfg in made] == [
        ("ssd", 1), ("flip", 1), ("ssd", 2), ("flip", 2)
    ]  # fmt: skip
    # 20 images are two batches of 8, so 21 updates are 10 epochs
    assert {(cfg.epoch_size, cfg.eval_interval, cfg.warmup_epochs) for cfg in made} == {(10, 10, 3)}
    assert made[0].classes == ("background", "car", "tree", "house")
    assert made[0].image_size == (64, 64) and made[0].assigner == "atss"
    flip = rows["small_data tiles flip"]
    assert (flip["seeds"], flip["AP"], flip["AP50"]) == (2, 0.35, 0.7)
    assert np.allclose(flip["AP50_range"], [0.6, 0.8])


def test_settings_fit_the_recipe():
    for keys in small_data.SETTINGS.values():
        cfg = configure([small_data.RECIPE], **keys)  # raises where keys contradict each other
        assert cfg.augmentation == keys["augmentation"]
