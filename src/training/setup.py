"""Builds a trainer from a configuration, ready to run."""

from collections.abc import Sequence
from functools import partial

import mindspore as ms

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.loader import build_loader
from src.data.problems import Unreadable
from src.data.sampling import describe_repeats
from src.data.signs.classes import absent_class
from src.data.signs.sign import those_found
from src.data.signs.sizes import size_sign
from src.data.signs.split import leak
from src.data.summary import build_summary
from src.detection.anchors import build_anchors
from src.distributed.ranks import Ranks
from src.losses.detection_loss import build_loss
from src.models.card_fit import advice_before, check_tensors
from src.models.card_memory import free_memory
from src.models.ssd import SSD, build_ssd
from src.runtime.environment import environment
from src.runtime.signals import Interruption
from src.runtime.stopwatch import Stopwatch
from src.runtime.text import count
from src.training.advice import advice_on_settings
from src.training.agreement import Agreement, check_alike
from src.training.auto_batch import fill_batch
from src.training.callbacks.callback_list import CallbackList
from src.training.callbacks.loading import NamedCallback
from src.training.callbacks.tensorboard import TensorBoard
from src.training.checkpoints import Checkpoints
from src.training.compiling import compile_graphs
from src.training.ema import MovingAverages
from src.training.evaluator import Evaluator
from src.training.guard import Guard
from src.training.loss_scale import build_loss_scale
from src.training.optimizer import build_optimizer
from src.training.plan import Plan, build_plan
from src.training.progress import Progress
from src.training.rank_reports import peak_memory
from src.training.resume import (
    SavedRun,
    find_saved,
    restore_run,
    rewind_folder,
    with_batch_of,
)
from src.training.run_folder import prepare_folder
from src.training.run_log import RunLog
from src.training.schedule import build_schedule
from src.training.step import TrainStep
from src.training.trainer import Trainer
from src.training.update_graphs import LossNetwork
from src.weights.starting_weights import build_network, fill_open_keys

MINUTE = 60.0
ASSIGNED_IMAGES = 2000  # sample of the training split whose anchors the log counts, in a second


def prepare(
    cfg: Config,
    splits: list[Annotations],
    log: RunLog,
    ranks: Ranks,
    interruption: Interruption,
    callbacks: Sequence[NamedCallback] = (),
) -> Trainer:
    """Builds, restores and compiles the trainer; changes the run's folder only after all checks.

    The `splits` are to train on and, optionally, to evaluate on; the log is not yet open.

    Raises:
        InputError: unusable weights, checkpoint or data, or ranks that differ in them.
    """
    if ranks.size > 1:
        names = ("the training split", "the evaluation split")
        seen = {name: split.fingerprint() for name, split in zip(names, splits)}
        check_alike(ranks, {**seen, **cfg})
    saved = find_saved(cfg, log, ranks)
    cfg = fill_open_keys(cfg, saved and saved.config, log.line, ranks)
    cfg = with_batch_of(cfg, saved.config) if saved else fill_batch(cfg, len(splits[0]), log.line)
    describe_splits(cfg, splits, log)
    own = [NamedCallback("tensorboard", TensorBoard())] if ranks.is_main else []
    trainer = build_trainer(
        cfg,
        *splits,
        log=log,
        is_new=saved is None,
        interruption=interruption,
        ranks=ranks,
        callbacks=() if cfg.profile else (*own, *callbacks),
    )
    if saved:
        restore_run(trainer, saved)
    doubts = advice_on_settings(cfg, trainer.plan, trainer.schedule)
    for line in (describe(cfg, trainer), *doubts):
        log.line(line)
    check_memory(cfg, trainer)
    trainer.train_step.sync()
    compile_graphs(cfg, trainer)
    open_folder(cfg, trainer, saved)
    return trainer


def check_memory(cfg: Config, trainer: Trainer) -> None:
    """Logs a warning where the card seems too small; InputError for a batch that no GPU takes."""
    check_tensors(cfg, trainer.network)
    trainer.room = free_memory(cfg.device_target, ms.get_context("device_id"))
    if warning := advice_before(cfg, trainer.network, trainer.room):
        trainer.log.line(warning)


def describe_splits(cfg: Config, splits: list[Annotations], log: RunLog) -> None:
    """Logs the splits and, on the main rank, how objects match anchors in training."""
    log.line(splits[0].summary())
    if log.is_main:
        anchors = build_anchors(cfg)
        summary = build_summary(cfg, splits[0], anchors, assigned_images=ASSIGNED_IMAGES)
        log.line(summary.match_line())
        if cfg.repeat_threshold:
            log.line(describe_repeats(splits[0], cfg.repeat_threshold))
        signs = [size_sign(summary)]
        if len(splits) > 1:
            signs += [leak(*splits), absent_class(*splits, cfg.classes[1:])]
        for sign in those_found(*signs):
            if sign.name not in cfg.accept:
                log.line(f"warning: {sign}")
    for split in splits[1:]:
        log.line(split.summary())


def open_folder(cfg: Config, trainer: Trainer, saved: SavedRun | None) -> None:
    """Makes the run's folder ready and opens the logs; here the run starts to write."""
    log, ranks = trainer.log, trainer.ranks
    text, facts = without_launch_keys(cfg).to_yaml(), environment(cfg.device_target, ranks.size)
    is_new, keep = saved is None, not cfg.profile
    ranks.on_main(lambda: prepare_folder(log, text, facts, is_new=is_new, keep=keep))
    if not ranks.is_main:
        log.open()
    if saved:
        rewind_folder(trainer, saved, set_aside=bool(cfg.resume_from))


def build_trainer(
    cfg: Config,
    annotations: Annotations,
    val_annotations: Annotations | None = None,
    *,
    log: RunLog,
    is_new: bool = True,
    interruption: Interruption | None = None,
    ranks: Ranks | None = None,
    callbacks: Sequence[NamedCallback] = (),
) -> Trainer:
    """The configured trainer.

    Args:
        annotations: the training split.
        val_annotations: the split to evaluate on; None never evaluates.
        is_new: whether it starts from the configured weights instead of a run's checkpoint.

    Raises:
        InputError: fewer images than an update needs, or unusable weights.
    """
    interruption, ranks = interruption or Interruption(), ranks or Ranks()
    clock = Stopwatch(precise=cfg.profile)
    per_cell = build_anchors(cfg).anchors_per_cell
    network = build_network(cfg, per_cell, log.line, start=is_new and ranks.is_main)
    averaged = build_ssd(cfg, per_cell) if cfg.ema_decay else None
    loader = build_loader(cfg, annotations, rank=ranks.rank, ranks=ranks.size)
    evaluated = network if averaged is None else averaged
    plan = build_plan(cfg, loader.steps_per_epoch // cfg.accumulate, ranks.size)
    unreadable = Unreadable(annotations.source, len(annotations), met=0)
    seconds = cfg.save_minutes * MINUTE
    return Trainer(
        network=network,
        train_step=build_step(cfg, network, averaged=averaged, clock=clock, ranks=ranks),
        loader=loader,
        schedule=build_schedule(cfg, plan.steps_per_epoch, plan.images_per_step),
        plan=plan,
        evaluator=Evaluator(cfg, val_annotations, evaluated, log, ranks),
        checkpoints=build_checkpoints(cfg, log, ranks),
        agreement=Agreement(ranks, interruption, unreadable, save_seconds=seconds),
        guard=Guard(log, max_bad_steps=cfg.max_bad_steps),
        progress=build_progress(cfg, log, plan),
        log=log,
        clock=clock,
        ranks=ranks,
        interruption=interruption,
        identity={"seed": cfg.seed, "data": annotations.fingerprint()},
        callbacks=CallbackList(callbacks, log, ranks, is_shared=bool(cfg.callbacks)),
    )


def build_checkpoints(cfg: Config, log: RunLog, ranks: Ranks) -> Checkpoints:
    """The checkpoints of the run whose log this is."""
    config = without_launch_keys(cfg).to_yaml()
    return Checkpoints(log.folder / "ckpt", keep=cfg.keep_checkpoints, config=config, ranks=ranks)


def build_progress(cfg: Config, log: RunLog, plan: Plan) -> Progress:
    """The progress of a run of that length."""
    return Progress(
        log,
        total_steps=plan.stop_at,
        images_per_step=plan.images_per_step,
        log_interval=cfg.log_interval,
        memory=partial(peak_memory, cfg.device_target),
    )


def build_step(
    cfg: Config,
    network: SSD,
    *,
    averaged: SSD | None = None,
    clock: Stopwatch | None = None,
    ranks: Ranks | None = None,
) -> TrainStep:
    """The configured update; `averaged` gets moving averages of the weights, if configured."""
    return TrainStep(
        LossNetwork(network, build_loss(cfg)),
        build_optimizer(cfg, network.trainable_params()),
        clip_norm=cfg.clip_norm,
        loss_scale=build_loss_scale(cfg),
        averages=None if averaged is None else MovingAverages(network, averaged),
        ema_decay=cfg.ema_decay,
        clock=clock,
        ranks=ranks,
    )


def without_launch_keys(cfg: Config) -> Config:
    """The configuration without keys that say how one session was started."""
    return cfg.replace(
        resume=False, resume_from="", profile=False, run_distribute=False, device_num=0
    )


def describe(cfg: Config, trainer: Trainer) -> str:
    """Images per update, learning rate, and how the ranks communicate, for the log."""
    ranks, schedule = trainer.ranks, trainer.schedule
    text = f"{count(trainer.plan.images_per_step, 'image')} per update"
    if ranks.size > 1:
        text += f" on {ranks.size} ranks ({ranks.describe()})"
    warmup = count(schedule.warmup_steps, "update")
    text += f"; the learning rate rises to {schedule.base_lr:.4g} in {warmup} of warm-up"
    if cfg.auto_scale_lr:
        text += f" (lr {cfg.lr:g} is scaled from {cfg.lr_batch_size} images)"
    return text
