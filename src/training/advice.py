"""Advice on settings that will not do, before a run, and on a run that learnt nothing, after it."""

from collections.abc import Iterator

from src.config.consistency import USUAL_WARMUP
from src.data.signs.strengths import idle_strengths
from src.runtime.text import count
from src.training.schedule import Schedule
from src.training.trainer import Trainer

FEW_UPDATES = 500  # the demo has 540 on images of one simple kind, other recipes 2,000 and more
ENOUGH_UPDATES = 2000  # what the recipes for few images have
OTHER_BATCH = 2  # from this factor on another batch size needs another rate
LONG_WARMUP = 0.5  # of a run; the recipes have at most 0.3
UNLEARNT_AP = 0.01  # a lower one is chance or a fault, not a weak detector
CROPPING = ("ssd", "ssd_expand")  # presets with random crops
# presets after which an image looks much like before; on 100 and 141 images that came 118 to 167
# times each they ended at AP50 0.38 and 0.72, where a little jitter had 0.86 and 0.95, while after
# 15 to 21 times they were as good on one set (docs/small_data.md)
PLAIN = ("none", "flip")
FEW_IMAGES, OFTEN = 500, 50
GENTLE = "--augmentation=jitter --jitter_scale=[0.8,1.25]"


def warn_of_settings(
    *,
    schedule: Schedule,
    total_steps: int,
    steps_per_epoch: int,
    images_per_step: int,
    lr_batch_size: int,
    auto_scale_lr: bool,
    eval_interval: int,
    val_share: float = 0.0,
) -> Iterator[str]:
    """Lines on settings with which a run rarely does what its user wants.

    Args:
        total_steps: updates of the schedule, which `max_steps` does not shorten.
        images_per_step: of all batches and ranks.
        lr_batch_size: images per update that the rate is meant for.
    """
    off = max(images_per_step, lr_batch_size) / min(images_per_step, lr_batch_size)
    if not auto_scale_lr and off >= OTHER_BATCH:
        scaled = schedule.base_lr * images_per_step / lr_batch_size
        yield (
            f"lr {schedule.base_lr:g} is meant for {count(lr_batch_size, 'image')} per update "
            f"(lr_batch_size), and this run has {images_per_step}; --auto_scale_lr=True makes it "
            f"{scaled:.3g}, and --lr_batch_size={images_per_step} says that it is right as it is"
        )
    warmup = min(schedule.warmup_steps / total_steps, USUAL_WARMUP)  # share of the run
    if total_steps < FEW_UPDATES:
        epochs = epochs_for(ENOUGH_UPDATES, steps_per_epoch)
        yield (
            f"{count(total_steps, 'update')} in all are few for a detector; "
            f"--epoch_size={epochs} --warmup_epochs={warmup * epochs:.3g} makes {ENOUGH_UPDATES:,}"
        )
    if schedule.warmup_steps > LONG_WARMUP * total_steps:
        yield (
            f"the warm-up takes {schedule.warmup_steps:,} of {count(total_steps, 'update')}; "
            f"--warmup_epochs={USUAL_WARMUP * total_steps / steps_per_epoch:.3g} makes it "
            f"{USUAL_WARMUP:.0%}"
        )
    if not eval_interval:
        held = (
            f"the images that val_share {val_share:g} holds out are not used: --eval_interval=1 "
            "evaluates on them, --val_share=0 trains on them"
        )
        own = "with images to evaluate on set --eval_interval=1 or more"
        yield (
            "eval_interval is 0, so there will be no AP and no best.ckpt; "
            f"{held if val_share else own}"
        )


def warn_of_few_images(
    *, images: int, epochs: int, augmentation: str, mosaic_probability: float
) -> Iterator[str]:
    """A line where a few images come so often, and so alike, that most epochs teach nothing new."""
    plain = augmentation in PLAIN and not mosaic_probability
    if plain and images < FEW_IMAGES and epochs >= OFTEN:
        yield (
            f"{count(images, 'image')} are shown {epochs} times each, and augmentation "
            f"{augmentation} hardly changes them; try {GENTLE} --mosaic_probability=0.5"
        )


def epochs_for(updates: int, steps_per_epoch: int) -> int:
    """The least number of epochs with as many updates."""
    return -(-updates // steps_per_epoch)


def explain_unlearnt(
    *,
    updates: int,
    steps_per_epoch: int,
    skipped: int,
    augmentation: str,
    starts_from: str,
) -> Iterator[str]:
    """Likely reasons why a run learnt nothing, each with what to do.

    Args:
        updates: of the run, `skipped` ones included.
        starts_from: path of the weights that it started from; empty: random ones.
    """
    if skipped:
        yield f"{skipped:,} of {count(updates, 'update')} were skipped: lower --lr"
    if updates < ENOUGH_UPDATES:
        epochs = epochs_for(ENOUGH_UPDATES, steps_per_epoch)
        yield f"{count(updates, 'update')}: --epoch_size={epochs} makes {ENOUGH_UPDATES:,}"
        if augmentation in CROPPING:
            yield f"random crops need more updates than that: {GENTLE}"
    if not starts_from:
        yield "random weights: --finetune or --pretrained (docs/models.md) start from better ones"
    yield "boxes beside their objects: look at what 'python3 -m src.data.validate' draws"


def advice_on_settings(cfg, trainer: Trainer) -> list[str]:
    """`warn_of_settings` for a configured run."""
    plan = trainer.plan
    warnings = warn_of_settings(
        schedule=trainer.schedule,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        images_per_step=plan.images_per_step,
        lr_batch_size=cfg.lr_batch_size,
        auto_scale_lr=cfg.auto_scale_lr,
        eval_interval=cfg.eval_interval,
        val_share=cfg.val_share,
    )
    shown_often = warn_of_few_images(
        images=plan.images_per_step * plan.steps_per_epoch,
        epochs=plan.total_steps // plan.steps_per_epoch,
        augmentation=cfg.augmentation,
        mosaic_probability=cfg.mosaic_probability,
    )
    idle = [sign for sign in idle_strengths(cfg) if sign.name not in cfg.accept]
    return [f"warning: {line}" for line in (*warnings, *shown_often, *idle)]


def advice_on_outcome(cfg, trainer: Trainer) -> list[str]:
    """Lines for the log on a run that has learnt nothing; none on one that max_steps stopped."""
    best, plan = trainer.evaluator.best, trainer.plan
    is_whole = trainer.step >= plan.total_steps or trainer.step < plan.stop_at
    if best is None or best["AP"] >= UNLEARNT_AP or not is_whole:
        return []
    reasons = explain_unlearnt(
        updates=trainer.step,
        steps_per_epoch=plan.steps_per_epoch,
        skipped=trainer.guard.skipped,
        augmentation=cfg.augmentation,
        starts_from=cfg.finetune or cfg.pretrained,
    )
    return [
        f"warning: best AP {max(best['AP'], 0):.3f}: next to nothing was learnt. Likely reasons:",
        *(f"  - {reason}" for reason in reasons),
    ]
