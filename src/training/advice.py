"""Warnings of doubtful settings before a run, and advice after one that learnt nothing."""

from collections.abc import Iterator

from src.config.configuration import Config
from src.config.consistency import USUAL_WARMUP
from src.data.signs.strengths import idle_strengths
from src.runtime.text import count
from src.training.plan import Plan
from src.training.schedule import Schedule
from src.training.trainer import Trainer

FEW_UPDATES = 500  # the demo has 540 on images of one simple kind, other recipes 2,000 and more
ENOUGH_UPDATES = 2000  # what the recipes for few images have
OTHER_BATCH = 2  # from this factor on another batch size needs another rate
LONG_WARMUP = 0.5  # of a run; the recipes have at most 0.3
UNLEARNT_AP = 0.01  # a lower one is chance or a fault, not a weak detector
CROPPING = ("ssd", "ssd_expand")  # presets with random crops
# presets that hardly change an image: with 100 and 141 images, shown 118 to 167 times each, runs
# ended at AP50 0.38 and 0.72, with a little jitter at 0.86 and 0.95 (docs/small_data.md)
PLAIN = ("none", "flip")
FEW_IMAGES, OFTEN = 500, 50
GENTLE = "--augmentation=jitter --jitter_scale=[0.8,1.25]"


def advice_on_settings(cfg: Config, plan: Plan, schedule: Schedule) -> list[str]:
    """Warnings of settings with which a run rarely does what its user wants."""
    idle = [sign for sign in idle_strengths(cfg) if sign.name not in cfg.accept]
    lines = (*doubts_of_length(cfg, plan, schedule), *doubts_of_data(cfg, plan), *idle)
    return [f"warning: {line}" for line in lines]


def doubts_of_length(cfg: Config, plan: Plan, schedule: Schedule) -> Iterator[str]:
    """Lines on the learning rate, the number of updates and the warm-up."""
    total, images, meant = plan.total_steps, plan.images_per_step, cfg.lr_batch_size
    if not cfg.auto_scale_lr and max(images, meant) >= OTHER_BATCH * min(images, meant):
        yield (
            f"lr {schedule.base_lr:g} is meant for {count(meant, 'image')} per update "
            f"(lr_batch_size), and this run has {images}; --auto_scale_lr=True makes it "
            f"{schedule.base_lr * images / meant:.3g}, and --lr_batch_size={images} says that it "
            "is right as it is"
        )
    warmup = schedule.warmup_steps
    if total < FEW_UPDATES:
        epochs = epochs_for(ENOUGH_UPDATES, plan.steps_per_epoch)
        warmup_epochs = min(warmup / total, USUAL_WARMUP) * epochs
        yield (
            f"{count(total, 'update')} in all are few for a detector; --epoch_size={epochs} "
            f"--warmup_epochs={warmup_epochs:.3g} makes {ENOUGH_UPDATES:,}"
        )
    if warmup > LONG_WARMUP * total:
        yield (
            f"the warm-up takes {warmup:,} of {count(total, 'update')}; --warmup_epochs="
            f"{USUAL_WARMUP * total / plan.steps_per_epoch:.3g} makes it {USUAL_WARMUP:.0%}"
        )


def doubts_of_data(cfg: Config, plan: Plan) -> Iterator[str]:
    """Lines on images that are not evaluated, or that are shown often and nearly unchanged."""
    if not cfg.eval_interval:
        way = "with images to evaluate on set --eval_interval=1 or more"
        if cfg.val_share:
            way = (
                f"the images that val_share {cfg.val_share:g} holds out are not used: "
                "--eval_interval=1 evaluates on them, --val_share=0 trains on them"
            )
        yield f"eval_interval is 0, so there will be no AP and no best.ckpt; {way}"
    images = plan.images_per_step * plan.steps_per_epoch
    plain = cfg.augmentation in PLAIN and not cfg.mosaic_probability
    if plain and images < FEW_IMAGES and plan.epochs >= OFTEN:
        yield (
            f"{count(images, 'image')} are shown {plan.epochs} times each, and augmentation "
            f"{cfg.augmentation} hardly changes them; try {GENTLE} --mosaic_probability=0.5"
        )


def epochs_for(updates: int, steps_per_epoch: int) -> int:
    """The least number of epochs with as many updates."""
    return -(-updates // steps_per_epoch)


def advice_on_outcome(cfg: Config, trainer: Trainer) -> list[str]:
    """Lines for the log on a run that has learnt nothing; none on one that max_steps stopped."""
    best, plan = trainer.evaluator.best, trainer.plan
    is_whole = trainer.step >= plan.total_steps or trainer.step < plan.stop_at
    if best is None or best["AP"] >= UNLEARNT_AP or not is_whole:
        return []
    reasons = likely_reasons(cfg, trainer.step, plan.steps_per_epoch, trainer.guard.skipped)
    return [
        f"warning: best AP {max(best['AP'], 0):.3f}: next to nothing was learnt. Likely reasons:",
        *(f"  - {reason}" for reason in reasons),
    ]


def likely_reasons(cfg: Config, updates: int, steps_per_epoch: int, skipped: int) -> Iterator[str]:
    """Reasons why a run of `updates` may have learnt nothing, each with what to do."""
    if skipped:
        yield f"{skipped:,} of {count(updates, 'update')} were skipped: lower --lr"
    if updates < ENOUGH_UPDATES:
        epochs = epochs_for(ENOUGH_UPDATES, steps_per_epoch)
        yield f"{count(updates, 'update')}: --epoch_size={epochs} makes {ENOUGH_UPDATES:,}"
        if cfg.augmentation in CROPPING:
            yield f"random crops need more updates than that: {GENTLE}"
    if not (cfg.finetune or cfg.pretrained):
        yield "random weights: --finetune or --pretrained (docs/models.md) start from better ones"
    yield "boxes beside their objects: look at what 'python3 -m src.data.validate' draws"
