"""Advice before and after a run; numbers of updates are counted by hand."""

from types import SimpleNamespace

import pytest

from src.config.configuration import make_config, read_recipe
from src.data.signs.strengths import idle_strengths
from src.training.advice import advice_on_outcome, advice_on_settings, likely_reasons
from src.training.plan import Plan, build_plan
from src.training.schedule import Schedule, build_schedule
from src.training.trainer import Trainer
from tests.conftest import REPOSITORY


def warnings(
    warmup: int = 600, *, epochs: int = 100, steps: int = 20, images: int = 8, **keys
) -> list[str]:
    """Of a run of `epochs` of `steps` updates of `images`, `warmup` updates long at first."""
    cfg = make_config([({"lr_batch_size": 8, "eval_interval": 10, **keys}, "test")])
    plan = Plan(epochs, steps, epochs * steps, images)
    schedule = Schedule(base_lr=0.05, warmup_ratio=0.1, warmup_steps=warmup, decay=lambda step: 1.0)
    lines = advice_on_settings(cfg, plan, schedule)
    return [line.removeprefix("warning: ") for line in lines]


def test_sound_settings_get_no_warning():
    assert warnings() == []
    assert warnings(images=15, epochs=25, warmup=250) == []


@pytest.mark.parametrize(("images", "scaled"), [(16, "0.00625"), (256, "0.1")])
def test_a_rate_for_another_batch_size(images, scaled):
    (line,) = warnings(images=images, lr_batch_size=128)
    assert line.startswith("lr 0.05 is meant for 128 images per update")
    assert f"this run has {images}; --auto_scale_lr=True makes it {scaled}," in line
    assert f"--lr_batch_size={images}" in line
    assert warnings(images=images, lr_batch_size=128, auto_scale_lr=True) == []


def test_too_few_updates():
    (line,) = warnings(epochs=15, steps=17, warmup=10)
    # 118 epochs of 17 updates are 2,006, of which the warm-up's 10/255 are 4.63 epochs
    assert line.startswith("255 updates in all")
    assert "--epoch_size=118 --warmup_epochs=4.63 makes 2,000" in line


def test_a_warm_up_of_most_of_the_run():
    (line,) = warnings(warmup=1001)
    assert line.startswith("the warm-up takes 1,001 of 2,000 updates")
    assert line.endswith("--warmup_epochs=30 makes it 30%")  # of 100 epochs of 20 updates
    few, long = warnings(warmup=150, epochs=10, steps=17)
    assert "--epoch_size=118 --warmup_epochs=35.4 makes 2,000" in few  # 30 % of them
    assert long.endswith("--warmup_epochs=3 makes it 30%")


def test_a_run_that_is_never_evaluated():
    (line,) = warnings(eval_interval=0)
    assert line.endswith("with images to evaluate on set --eval_interval=1 or more")
    (line,) = warnings(eval_interval=0, val_share=0.2)
    assert "val_share 0.2 holds out are not used: --eval_interval=1 evaluates on them" in line


def test_few_images_that_come_often_and_alike():
    often = {"steps": 12, "epochs": 167, "augmentation": "flip"}
    (line,) = warnings(**often)
    assert line.startswith("96 images are shown 167 times each, and augmentation flip hardly")
    assert line.endswith("--augmentation=jitter --jitter_scale=[0.8,1.25] --mosaic_probability=0.5")
    for change in (
        {"steps": 63}, {"epochs": 49, "warmup": 100}, {"augmentation": "ssd"},
        {"mosaic_probability": 0.5},
    ):  # fmt: skip
        assert warnings(**{**often, **change}) == []


def test_strengths_of_steps_that_are_not_taken():
    cfg = make_config([({"augmentation": "none", "hue_strength": 0.5}, "test")])
    (sign,) = idle_strengths(cfg)
    assert sign.found == "hue_strength is 0.5, which does nothing with augmentation none"
    assert sign.cause == "It belongs to augmentation ssd, ssd_expand, jitter"
    assert list(idle_strengths(cfg.replace(augmentation="jitter"))) == []
    changed = {"crop_scale": [0.5, 1.0], "flip_probability": 0.2, "max_expansion": 2.0}
    (sign,) = idle_strengths(cfg.replace(augmentation="ssd", **changed))
    assert sign.found == "max_expansion is 2.0, which does nothing with augmentation ssd"


def test_reasons_of_a_run_that_learnt_nothing():
    cfg = make_config([])
    reasons = list(likely_reasons(cfg, 255, 17, skipped=3))
    assert [reason.split(":")[0] for reason in reasons] == [
        "3 of 255 updates were skipped",
        "255 updates",
        "random crops need more updates than that",
        "random weights",
        "boxes beside their objects",
    ]
    (only,) = likely_reasons(cfg.replace(finetune="a.ckpt"), 2000, 17, skipped=0)
    assert "src.data.validate" in only


def run_of(ap: float | None, *, step: int, stop_at: int = 34, total_steps: int = 34):
    best = None if ap is None else {"AP": ap, "epoch": 2, "step": step}
    plan = SimpleNamespace(stop_at=stop_at, total_steps=total_steps, steps_per_epoch=17)
    return SimpleNamespace(
        evaluator=SimpleNamespace(best=best),
        guard=SimpleNamespace(skipped=0),
        plan=plan,
        step=step,
    )


def test_only_a_whole_run_that_learnt_nothing_gets_advice():
    cfg = make_config([])
    lines = advice_on_outcome(cfg, run_of(-1.0, step=34))
    assert lines[0].startswith("warning: best AP 0.000: next to nothing was learnt")
    assert len(lines) == 5 and all(line.startswith("  - ") for line in lines[1:])
    assert advice_on_outcome(cfg, run_of(0.002, step=17))[0].startswith("warning: best AP 0.002")
    assert advice_on_outcome(cfg, run_of(0.01, step=34)) == []
    assert advice_on_outcome(cfg, run_of(None, step=34)) == []
    assert advice_on_outcome(cfg, run_of(0.0, step=5, stop_at=5)) == []  # by max_steps


@pytest.mark.parametrize(
    ("recipe", "images", "ranks"),
    [("demo", 1080, 1), ("small", 140, 1), ("finetune", 300, 1), ("config_gpu", 117266, 8)],
)
def test_recipes_as_they_are_meant_get_no_warning(recipe, images, ranks):
    path = REPOSITORY / "config" / f"ssd_resnet50_fpn_{recipe}.yaml"
    cfg = make_config([(read_recipe(path), str(path))])
    plan = build_plan(cfg, images // (cfg.batch_size * ranks), ranks)
    schedule = build_schedule(cfg, plan.steps_per_epoch, plan.images_per_step)
    assert advice_on_settings(cfg, plan, schedule) == []


@pytest.mark.parametrize(
    ("skipped", "ap", "line"),
    [
        (3, 0.0, "done, but nothing was learnt: all 3 updates were skipped, best AP 0.000 (epoch "),
        (2, 0.25, "done, best AP 0.250 (epoch 1): best.ckpt"),
        (2, -1.0, "done, no AP (epoch 1): best.ckpt"),
        (3, None, "done, but nothing was learnt: all 3 updates were skipped, not evaluated: last"),
    ],
)
def test_the_last_line_says_if_nothing_was_learnt(skipped, ap, line):
    trainer = SimpleNamespace(
        step=3,
        plan=SimpleNamespace(stop_at=3, total_steps=3),
        guard=SimpleNamespace(skipped=skipped, bad_in_a_row=0),
        progress=SimpleNamespace(bottleneck=str),
        evaluator=SimpleNamespace(
            is_on=True, best=ap is not None and {"AP": ap, "epoch": 1} or None
        ),
        checkpoints=SimpleNamespace(best="best.ckpt", last="last.ckpt"),
    )
    assert Trainer.outcome(trainer)[-1].startswith(line)
