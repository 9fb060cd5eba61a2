import math
from functools import partial

import pytest

from src.config.configuration import make_config
from src.training.schedule import SCHEDULES, Schedule, build_schedule, cosine

COSINE = Schedule(
    base_lr=0.05,
    warmup_ratio=0.266,
    warmup_steps=100,
    decay=partial(cosine, start=100, end=1100),
)


@pytest.mark.parametrize(
    ("step", "lr"),
    [
        (0, 0.0133),
        (50, (0.0133 + 0.05) / 2),
        (100, 0.05),
        (350, 0.05 * (1 + 2**-0.5) / 2),
        (600, 0.025),
        (1100, 0.0),
        (5000, 0.0),
    ],
)
def test_literal_rates(step, lr):
    assert COSINE(step) == pytest.approx(lr)


def test_without_warmup_it_starts_at_the_top():
    decay = partial(cosine, start=0, end=1100)
    assert Schedule(base_lr=0.05, warmup_ratio=0.266, warmup_steps=0, decay=decay)(0) == 0.05


def test_it_never_rises_after_the_warmup():
    rates = [COSINE(step) for step in range(1101)]
    assert rates.index(max(rates)) == 100
    assert all(a >= b for a, b in zip(rates[100:], rates[101:]))


def rates(**changes):
    """The rates of a run of 6 epochs of 10 updates."""
    keys = {"epoch_size": 6, "lr": 1.0, "warmup_ratio": 0.0, "warmup_epochs": 1.0, **changes}
    schedule = build_schedule(make_config([(keys, "test")]), 10, 128)
    return [schedule(step) for step in range(60)]


WARMUP = [step / 10 for step in range(10)]


def test_steps():
    found = rates(lr_schedule="steps", lr_milestones=[3, 4.5])
    assert found == pytest.approx(WARMUP + [1.0] * 20 + [0.1] * 15 + [0.01] * 15)


def test_steps_by_epoch_wait_for_the_next_epoch():
    found = rates(lr_schedule="steps", lr_milestones=[3, 4.5], lr_by="epoch", lr_factor=0.5)
    assert found == pytest.approx(WARMUP + [1.0] * 20 + [0.5] * 20 + [0.25] * 10)


def test_cosine_by_epoch_warms_up_by_step():
    cosine = [0.5 * (1 + math.cos(math.pi * epoch / 5)) for epoch in range(5)]
    assert rates(lr_by="epoch") == pytest.approx(
        WARMUP + [rate for rate in cosine for _ in range(10)]
    )


def test_by_epoch_with_a_warmup_that_ends_within_one():
    found = rates(lr_by="epoch", warmup_epochs=1.5)
    assert found[14] == pytest.approx(14 / 15)
    assert found[15:20] == [1.0] * 5
    assert found[20] == pytest.approx(0.5 * (1 + math.cos(math.pi * 5 / 45)))


def scaled(images, **changes):
    """A schedule of 60 epochs, of lr 0.05 for 128 images, and `images` to an update."""
    keys = {"lr": 0.05, "warmup_ratio": 0.25, "warmup_epochs": 2.0, "lr_batch_size": 128}
    cfg = make_config([({**keys, "epoch_size": 60, "auto_scale_lr": True, **changes}, "test")])
    return build_schedule(cfg, 12800 // images, images)


@pytest.mark.parametrize(
    ("images", "top", "first", "warmup"),
    [
        (128, 0.05, 0.0125, 200),  # the recipe's own batch
        (512, 0.2, 0.0125, 200),  # starts at the same rate, and takes as many updates
        (16, 0.00625, 0.0015625, 1600),  # a small one warms up for as many epochs
        (6400, 2.5, 0.0125, 24),  # but not for more than a fifth of the run
    ],
)
def test_rate_and_warmup_follow_the_images_of_an_update(images, top, first, warmup):
    schedule = scaled(images)
    assert (schedule.base_lr, schedule(0)) == pytest.approx((top, first))
    assert schedule.warmup_steps == warmup
    assert schedule(warmup) == pytest.approx(top)


def test_rate_stays_without_auto_scale_lr():
    schedule = scaled(512, auto_scale_lr=False)
    assert (schedule.base_lr, schedule.warmup_steps) == (0.05, 50)


def test_long_warmup_that_was_asked_for_is_not_cut():
    assert scaled(512, warmup_epochs=20.0).warmup_steps == 20 * 25


def test_another_schedule_by_its_name(monkeypatch):
    def build_linear(cfg, span):
        return lambda step: 1 - (step - span.warmup) / (span.total - span.warmup)

    monkeypatch.setitem(SCHEDULES, "cosine", build_linear)
    assert rates() == pytest.approx(WARMUP + [1 - step / 50 for step in range(50)])
