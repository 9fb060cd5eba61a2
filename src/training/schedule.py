"""The learning rate of each update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a decay; called with an update's number, from 0.

    base_lr: at the end of the warm-up; warmup_ratio: share of it at the first update; warmup_steps:
    updates of the warm-up; total_steps: of the run; milestones: updates at which the rate is
    multiplied by `factor`, or none for half a cosine down to 0 at total_steps; hold: the decay goes
    on only every so many updates (an epoch's, say), the warm-up with every one.
    """

    base_lr: float
    warmup_ratio: float
    warmup_steps: int
    total_steps: int
    milestones: Sequence[float] = ()
    factor: float = 0.1
    hold: int = 1

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            share = self.warmup_ratio + (1 - self.warmup_ratio) * step / self.warmup_steps
            return self.base_lr * share
        step = step // self.hold * self.hold
        if self.milestones:
            return self.base_lr * self.factor ** sum(step >= m for m in self.milestones)
        if step >= self.total_steps:
            return 0.0
        decaying = self.total_steps - self.warmup_steps
        progress = max(step - self.warmup_steps, 0) / decaying
        return self.base_lr * 0.5 * (1 + math.cos(math.pi * progress))


def build_schedule(cfg, steps_per_epoch: int) -> Schedule:
    """The schedule that the configuration asks for, its epochs turned into updates."""
    return Schedule(
        base_lr=cfg.lr,
        warmup_ratio=cfg.warmup_ratio,
        warmup_steps=round(cfg.warmup_epochs * steps_per_epoch),
        total_steps=cfg.epoch_size * steps_per_epoch,
        milestones=tuple(epoch * steps_per_epoch for epoch in cfg.lr_milestones)
        if cfg.lr_schedule == "steps"
        else (),
        factor=cfg.lr_factor,
        hold=steps_per_epoch if cfg.lr_by == "epoch" else 1,
    )
