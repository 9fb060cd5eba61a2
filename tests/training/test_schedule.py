import pytest

from src.training.schedule import warmup_cosine

PLAN = {"base_lr": 0.05, "warmup_ratio": 0.266, "warmup_steps": 100, "total_steps": 1100}


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
    assert warmup_cosine(step, **PLAN) == pytest.approx(lr)


def test_without_warmup_it_starts_at_the_top():
    assert warmup_cosine(0, **{**PLAN, "warmup_steps": 0}) == 0.05


def test_it_never_rises_after_the_warmup():
    rates = [warmup_cosine(step, **PLAN) for step in range(1101)]
    assert rates.index(max(rates)) == 100
    assert all(a >= b for a, b in zip(rates[100:], rates[101:]))
