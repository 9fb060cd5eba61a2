"""Training end to end on the embedded data set, with a small network."""

import json
import os
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.config import make_config
from src.data.dataset import build_annotations
from src.data.synthetic import write_dataset
from src.errors import InputError
from src.evaluation.coco import evaluate
from src.evaluation.detect import build_detector, detect_with
from src.files import without_nan
from src.models.ssd import IMAGE_MEAN, IMAGE_STD
from src.training.checkpoint import Checkpoints
from src.training.hooks import RunLog
from src.training.trainer import Trainer
from tests.conftest import small_keys


def train(cfg, *, val=None):
    """Trains as train.py does; returns (best metrics, step records of metrics.jsonl)."""
    folder = Path(cfg.output_path)
    folder.mkdir(parents=True)
    log = RunLog(folder)
    best = Trainer(cfg, build_annotations(cfg, training=True), val, log).run()
    log.close()
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return best, [r for r in records if r["kind"] == "step"]


def test_eight_images_are_learnt_by_heart(tmp_path):
    write_dataset(tmp_path / "data", train=8, val=1, seed=2)
    keys = {
        **small_keys(tmp_path / "data", tmp_path),
        "classes": ["background", "ellipse", "rectangle", "triangle", "cross"],
        "image_size": [96, 96],
        "augmentation": "none",
        "fpn_channels": 32,
        "batch_size": 8,
        "eval_batch_size": 8,
        "epoch_size": 100,
        "warmup_epochs": 5,
        "optimizer": "adamw",
        "lr": 0.003,
        "eval_interval": 100,
        "save_interval": 100,
        "val_split": "train2017",
    }
    cfg = make_config([(keys, "overfit")])
    annotations = build_annotations(cfg, training=True)
    best, steps = train(cfg, val=annotations)
    assert best.overall["AP50"] >= 0.9
    assert steps[-1]["loss"] < 0.2 * steps[0]["loss"]
    # the checkpoint on disk scores the same
    saved = cfg.replace(checkpoint_path=str(Path(cfg.output_path) / "ckpt" / "best.ckpt"))
    results, _ = detect_with(build_detector(saved), saved, annotations)
    again = evaluate(annotations, cfg.classes, results)
    assert without_nan(again.overall) == without_nan(best.overall)


def test_same_seed_gives_the_same_losses_to_the_last_bit(small, tmp_path):
    runs = []
    for name, workers in (("a", 0), ("b", 3)):
        cfg = small.replace(output_path=str(tmp_path / name), num_workers=workers, max_steps=8)
        runs.append(train(cfg)[1])
    fields = ("loss", "class_loss", "box_loss", "gradient_norm", "lr", "positives")
    one, other = ([[r[f] for f in fields] for r in run] for run in runs)
    assert len(one) == 8
    assert one == other
    assert len({r[0] for r in one}) == 8


def test_run_leaves_its_checkpoints_and_logs(small):
    val = build_annotations(small, training=False)
    cfg = small.replace(epoch_size=3, keep_checkpoints=2, eval_interval=1)
    best, steps = train(cfg, val=val)
    folder = Path(cfg.output_path)
    names = sorted(p.name for p in (folder / "ckpt").iterdir())
    assert names == ["best.ckpt", "epoch_02.ckpt", "epoch_03.ckpt", "last.ckpt"]
    assert [s["step"] for s in steps] == list(range(1, 19))
    assert [s["epoch"] for s in steps] == [1] * 6 + [2] * 6 + [3] * 6
    assert steps[3]["lr"] == pytest.approx(cfg.lr)  # warm-up over half an epoch of 6
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    evaluations = [json.loads(line) for line in lines if '"evaluation"' in line]
    assert [e["epoch"] for e in evaluations] == [1, 2, 3]
    assert max(e["AP"] for e in evaluations) == best.overall["AP"]
    assert "protocol coco, 10 images" in (folder / "log.txt").read_text()
    last = ms.load_checkpoint(str(folder / "ckpt" / "last.ckpt"))
    assert (last["run.epoch"].item(), last["run.step"].item()) == (3, 18)
    assert "image_size: [64, 64]" in last["run.config"]
    assert (folder / "ckpt" / "last.ckpt").stat().st_mode & 0o777 == 0o644


def test_max_steps_stops_early_but_keeps_the_schedule(small, tmp_path):
    whole = train(small.replace(output_path=str(tmp_path / "whole")))[1]
    part = train(small.replace(output_path=str(tmp_path / "part"), max_steps=5))[1]
    assert len(whole) == 12
    assert [s["lr"] for s in part] == [s["lr"] for s in whole[:5]]
    assert (tmp_path / "part" / "ckpt" / "last.ckpt").exists()


def test_fewer_images_than_a_batch(small):
    with pytest.raises(InputError, match="24 images are fewer than a batch of 25"):
        train(small.replace(batch_size=25))


def test_moving_averages_take_one_step_per_update_and_none_in_evaluation(small):
    cfg = small.replace(max_steps=1)
    folder = Path(cfg.output_path)
    folder.mkdir()
    log = RunLog(folder)
    val = build_annotations(cfg, training=False)
    trainer = Trainer(cfg, build_annotations(cfg, training=True), val, log)
    backbone = trainer.network.backbone
    batch = next(trainer.loader.epoch(0))
    x = (batch.images - np.float32(IMAGE_MEAN)) / np.float32(IMAGE_STD)
    first = backbone.conv1(ms.Tensor(x.transpose(0, 3, 1, 2).astype(np.float32))).asnumpy()
    trainer.run()  # an update, then the final evaluation
    log.close()
    expected = 0.1 * first.mean(axis=(0, 2, 3))  # 0.9 of zero and 0.1 of the batch's
    found = backbone.bn1.moving_mean.asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_an_earlier_run_s_checkpoints_are_moved_aside(small):
    folder = Path(small.output_path) / "ckpt"
    folder.mkdir(parents=True)
    for name in ("best.ckpt", "epoch_60.ckpt", "epoch_final.ckpt"):
        (folder / name).write_text("earlier")
    network = nn.Dense(2, 2)
    checkpoints = Checkpoints(folder, keep=1, metadata={})
    checkpoints.save(network, epoch=1, step=3)
    checkpoints.save(network, epoch=2, step=6)
    assert sorted(p.name for p in folder.iterdir()) == ["epoch_02.ckpt", "last.ckpt"]
    (aside,) = folder.parent.glob("ckpt_*")
    assert {p.read_text() for p in aside.iterdir()} == {"earlier"}
    assert len(list(aside.iterdir())) == 3


def test_file_systems_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    Checkpoints(tmp_path / "c", keep=2, metadata={}).save(nn.Dense(2, 2), epoch=7, step=1)
    assert (tmp_path / "c" / "epoch_07.ckpt").read_bytes() == (
        tmp_path / "c" / "last.ckpt"
    ).read_bytes()
