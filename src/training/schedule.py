"""The learning rate of each update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_WARMUP = 0.2  # of a run whose warm-up follows a larger batch


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


def build_schedule(cfg, steps_per_epoch: int, images_per_step: int) -> Schedule:
    """The schedule that the configuration asks for, its epochs turned into updates.

    With auto_scale_lr the rate grows with the images of an update (Goyal et al., 2017). The warm-up
    of a larger one starts at the recipe's own rate, and is as many updates long as the recipe's,
    but at most LONGEST_WARMUP of the run.
    """
    scale = images_per_step / cfg.lr_batch_size if cfg.auto_scale_lr else 1.0
    longer = max(scale, 1.0)
    longest = max(LONGEST_WARMUP * cfg.epoch_size, cfg.warmup_epochs)
    warmup_epochs = min(cfg.warmup_epochs * longer, longest)
    return Schedule(
        base_lr=cfg.lr * scale,
        warmup_ratio=cfg.warmup_ratio / longer,
        warmup_steps=round(warmup_epochs * steps_per_epoch),
        total_steps=cfg.epoch_size * steps_per_epoch,
        milestones=tuple(epoch * steps_per_epoch for epoch in cfg.lr_milestones)
        if cfg.lr_schedule == "steps"
        else (),
        factor=cfg.lr_factor,
        hold=steps_per_epoch if cfg.lr_by == "epoch" else 1,
    )
