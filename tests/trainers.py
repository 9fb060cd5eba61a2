"""Trainers for tests; those of the same graphs share them, as a short run is mostly compilation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.config.configuration import Config
from src.config.keys import keys_of_scope
from src.data.dataset import build_annotations
from src.prediction.network_model import Model
from src.training.callbacks.loading import NamedCallback
from src.training.resume import find_run, restore_run, rewind_folder
from src.training.run_log import RunLog
from src.training.setup import build_trainer
from src.training.trainer import Trainer
from tests.runs import records

compiled: dict[str, Trainer] = {}  # the first trainer of each kind of graphs
models: dict[str, Model] = {}  # the first one of each kind that evaluates


def make_trainer(
    cfg: Config,
    *,
    val: bool = False,
    resume: bool = False,
    own: bool = False,
    callbacks: Sequence[NamedCallback] = (),
):
    """A trainer as train.py makes it, with its log open.

    Args:
        val: evaluates on the split of the configuration.
        resume: continues the run in `output_path`.
        own: compiles its graphs itself.
        callbacks: that it tells.
    """
    folder = Path(cfg.output_path)
    folder.mkdir(parents=True, exist_ok=True)
    splits = [build_annotations(cfg, training=True)]
    if val:
        splits.append(build_annotations(cfg, training=False))
    saved = find_run(folder / "ckpt", cfg) if resume else None
    trainer = build_trainer(
        cfg, *splits, log=RunLog(folder), is_new=saved is None, callbacks=callbacks
    )
    if not own:
        trainer = with_shared_graphs(cfg, trainer)
    if saved:
        restore_run(trainer, saved)
    trainer.log.open()
    if saved:
        rewind_folder(trainer, saved, set_aside=bool(cfg.resume_from))
    return trainer


def with_shared_graphs(cfg: Config, trainer: Trainer) -> Trainer:
    """The trainer with the graphs of the first one of the same kind.

    Every parameter gets the value that the trainer's own has, so nothing of an earlier run is left.
    """
    decisive = repr({key: cfg[key] for key in keys_of_scope("graph", "batch")})
    first, evaluator = compiled.setdefault(decisive, trainer), trainer.evaluator
    evaluator.network = first.evaluator.network
    if evaluator.is_on:
        key = decisive + repr(evaluator.model.graph_key())
        evaluator.model = models.setdefault(key, evaluator.model)
    if first is trainer:
        return trainer
    step, own = first.train_step, trainer.train_step
    step.load({name: p.asnumpy() for name, p in own.parameters().items()}, updates=own.updates)
    for name in ("loss_scale", "clip_norm", "ema_decay"):
        setattr(step, name, getattr(own, name))
    first.network.set_train(trainer.network.training)
    first.clock.precise = trainer.clock.precise
    return replace(trainer, network=first.network, train_step=step, clock=first.clock)


def train(cfg, *, val=False):
    """Trains as train.py does; returns (best metrics, step records of metrics.jsonl)."""
    trainer = make_trainer(cfg, val=val)
    best = trainer.run()
    trainer.log.close()
    return best, records(Path(cfg.output_path), "step")
