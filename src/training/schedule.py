"""The learning rate of each update."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

LONGEST_WARMUP = 0.2  # of a run whose warm-up is longer because of larger batches

Decay = Callable[[float], float]  # number of an update, from 0 -> share of the base rate


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a decay; called with an update's number, from 0.

    Attributes:
        base_lr: at the end of the warm-up.
        warmup_ratio: share of it at the first update.
        warmup_steps: updates of the warm-up.
        decay: share of base_lr at an update after the warm-up.
        hold: updates between changes of the rate after the warm-up, e.g. those of an epoch.
    """

    base_lr: float
    warmup_ratio: float
    warmup_steps: int
    decay: Decay
    hold: int = 1

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            share = self.warmup_ratio + (1 - self.warmup_ratio) * step / self.warmup_steps
            return self.base_lr * share
        return self.base_lr * self.decay(step // self.hold * self.hold)


def cosine(step: float, *, start: int, end: int) -> float:
    """Half a cosine, from 1 up to update `start` to 0 from update `end` on."""
    if step >= end:
        return 0.0
    progress = max(step - start, 0) / (end - start)
    return 0.5 * (1 + math.cos(math.pi * progress))


def steps(step: float, *, milestones: Sequence[float], factor: float) -> float:
    """`factor` to the power of the number of milestones, in updates, that are reached."""
    return factor ** sum(step >= milestone for milestone in milestones)


@dataclass(frozen=True)
class Span:
    """Updates of a run: of an epoch, of the warm-up, and in total, the warm-up included."""

    epoch: int
    warmup: int
    total: int


def build_cosine(cfg, span: Span) -> Decay:
    """Half a cosine from the end of the warm-up to the end of the run."""
    return partial(cosine, start=span.warmup, end=span.total)


def build_steps(cfg, span: Span) -> Decay:
    """A multiplication by lr_factor at each of lr_milestones."""
    milestones = tuple(epoch * span.epoch for epoch in cfg.lr_milestones)
    return partial(steps, milestones=milestones, factor=cfg.lr_factor)


# Builders of decays by their names in the configuration. To add one, write a function and its
# builder, add it here, and name it at `lr_schedule` in config/default.yaml.
SCHEDULES = {"cosine": build_cosine, "steps": build_steps}


def build_schedule(cfg, steps_per_epoch: int, images_per_step: int) -> Schedule:
    """The configured schedule, in updates.

    With auto_scale_lr the rate is proportional to the images per update (Goyal et al., 2017). With
    larger updates the warm-up starts at the same rate and has as many updates as with the recipe's,
    but at most LONGEST_WARMUP of the run.
    """
    scale = images_per_step / cfg.lr_batch_size if cfg.auto_scale_lr else 1.0
    longer = max(scale, 1.0)
    longest = max(LONGEST_WARMUP * cfg.epoch_size, cfg.warmup_epochs)
    warmup = round(min(cfg.warmup_epochs * longer, longest) * steps_per_epoch)
    span = Span(epoch=steps_per_epoch, warmup=warmup, total=cfg.epoch_size * steps_per_epoch)
    return Schedule(
        base_lr=cfg.lr * scale,
        warmup_ratio=cfg.warmup_ratio / longer,
        warmup_steps=warmup,
        decay=SCHEDULES[cfg.lr_schedule](cfg, span),
        hold=steps_per_epoch if cfg.lr_by == "epoch" else 1,
    )
