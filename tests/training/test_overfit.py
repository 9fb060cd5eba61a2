"""The overfit proof: a network learns a few images by heart."""

from functools import partial

import pytest

from src.config.configuration import make_config
from src.data.dataset import build_annotations
from src.data.synthetic import write_dataset
from src.evaluation.coco_metric import evaluate
from src.evaluation.detect import detect_with
from src.runtime.files import without_nan
from src.weights.loading import load_detector
from tests.conftest import small_keys
from tests.runs import records
from tests.trainers import make_trainer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]

UPDATES = 60
NEWER = {
    "assigner": "atss", "class_loss": "quality", "box_loss": "giou", "box_weight": 2.0,
    "box_coding": "distribution",
}  # fmt: skip


@pytest.mark.parametrize("losses", [{}, NEWER], ids=["defaults", "newer"])
def test_eight_images_are_learnt_by_heart(tmp_path, losses):
    write_dataset(tmp_path / "data", train=8, val=1, seed=2)
    keys = {
        **small_keys(tmp_path / "data", tmp_path),
        "classes": ["background", "ellipse", "rectangle", "triangle", "cross"],
        "augmentation": "none",
        "fpn_channels": 32,
        "batch_size": 8,
        "eval_batch_size": 8,
        "epoch_size": UPDATES,
        "warmup_epochs": 0.3 * UPDATES,
        "optimizer": "adamw",
        "adam_beta2": 0.99,
        "clip_norm": 1.0,
        "lr": 0.003,
        "eval_interval": UPDATES,
        "save_interval": UPDATES,
        "val_split": "train2017",
        **losses,
    }
    cfg = make_config([(keys, "overfit")])
    trainer = make_trainer(cfg, val=True)
    annotations = build_annotations(cfg, training=False)  # the split that it trains on
    trainer.network.set_train(False)
    detect = partial(detect_with, trainer.network, cfg, annotations, model=trainer.evaluator.model)
    before = detect().losses
    best = trainer.run()
    trainer.log.close()
    folder = tmp_path / "run"
    steps = records(folder, "step")
    (evaluation,) = records(folder, "evaluation")
    assert evaluation["AP50"] >= 0.9
    assert steps[-1]["loss"] < 0.2 * steps[0]["loss"]
    # the checkpoint on disk scores the same
    for parameter in trainer.network.get_parameters():
        parameter.set_data(parameter.value() * 0)
    load_detector(trainer.network, str(folder / "ckpt" / "best.ckpt"))
    found = detect()
    again = evaluate(annotations, cfg.classes, found.rows)
    assert again.overall["AP"] == best["AP"] == evaluation["AP"]
    assert without_nan(again.overall) == {name: evaluation[name] for name in again.overall}
    assert found.losses == {name: evaluation[name] for name in before}
    assert found.losses["loss"] < 0.5 * before["loss"]
    assert found.losses["loss"] == pytest.approx(steps[-1]["loss"], rel=0.5)  # other statistics
