"""Resuming a run: finds and checks its checkpoint, and restores the trainer and the folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np

from src.config.configuration import Config
from src.config.consistency import differences
from src.config.keys import AUTO, keys_of_scope, load_keys
from src.config.open_keys import settled
from src.distributed.ranks import Ranks
from src.runtime.errors import InputError
from src.runtime.special_files import real_path
from src.training.checkpoints import CONFIG, STATE, numbered
from src.training.run_folder import new_aside, newest_aside
from src.training.run_log import Position, RunLog
from src.weights.checkpoint_file import RUN_PREFIX, has_checksum, load_entries, saved_config

if TYPE_CHECKING:
    from src.training.trainer import Trainer


@dataclass(frozen=True)
class SavedRun:
    """A checkpoint's contents: parameters by name, state and configuration of the run."""

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict
    config: dict

    def without_arrays(self) -> SavedRun:
        """What the ranks other than the main one need."""
        return replace(self, arrays={})

    def positions(self) -> tuple[dict[str, Position], Position]:
        """The last records before the checkpoint; see `RunLog.rewind`."""
        state = self.state
        evaluated = state["evaluator"]["evaluated_step"]
        epochs, rest = divmod(evaluated, state["steps_per_epoch"])
        limits = {
            "evaluation": (epochs + 1, evaluated) if rest else (epochs, math.inf),
            "epoch": (state["ended_epochs"], math.inf),
        }
        return limits, (state["epoch"], state["step"])

    def check_config(self, cfg: Config, ranks: int) -> None:
        """InputError names keys that changed but may not within a run.

        Ranks and batch may change if an update keeps its number of images.
        """
        cfg = with_batch_of(settled(cfg, self.config), self.config)
        same_images = self.state["images_per_step"] == cfg.batch_size * cfg.accumulate * ranks
        free = keys_of_scope("session", *(["batch"] if same_images else []))
        # a key that is newer than the checkpoint had no other value than its default
        recorded = {name: key.default for name, key in load_keys().items()} | self.config
        lines = differences(recorded, cfg, [key for key in cfg if key not in free])
        if not lines:
            return
        advice = (
            "resume with the run's own config.yaml, or start another: with --finetune where "
            "network and anchors are the same, else with --pretrained"
        )
        if not same_images:
            advice = (
                "batch_size x accumulate x ranks must stay "
                f"{self.state['images_per_step']}; {advice}"
            )
        title = f"{self.path}: is from a run with another configuration"
        raise InputError("\n  ".join([title, *lines, advice]))


def with_batch_of(cfg: Config, recorded: Mapping) -> Config:
    """The configuration with the recorded run's batch where it leaves that open."""
    return cfg.replace(batch_size=recorded["batch_size"]) if cfg.batch_size == AUTO else cfg


def read_run(path: Path) -> SavedRun:
    """Reads a checkpoint to continue from; InputError says what is wrong with it."""
    if path.is_file() and not has_checksum(path):
        raise InputError(f"{path}: has no checksum at its end: truncated, or not of a training run")
    only = "it can only be used with --finetune"
    entries = load_entries(str(path))
    if STATE not in entries or CONFIG not in entries:
        raise InputError(f"{path}: has no state of a run; {only}")
    state = json.loads(entries[STATE])
    if "updates" not in state:
        raise InputError(f"{path}: contains only weights; {only}")
    if "images_per_step" not in state:
        raise InputError(f"{path}: is from an older version; {only}")
    arrays = {
        name: entry.asnumpy()
        for name, entry in entries.items()
        if isinstance(entry, ms.Tensor) and not name.startswith(RUN_PREFIX)
    }
    return SavedRun(path, arrays, state, saved_config(entries, str(path)))


def find_saved(cfg: Config, log: RunLog, ranks: Ranks) -> SavedRun | None:
    """The checkpoint to continue from, with arrays on the main rank only; None for a new run."""
    if not cfg.resume:
        return None
    folder = log.folder
    saved = find_run(folder / "ckpt", cfg, ranks.size) if ranks.is_main else None
    if ranks.is_main and saved is None:
        aside = newest_aside(folder)
        instead = f"; to continue an earlier run, use --output_path={aside}" if aside else ""
        log.line(f"no checkpoint in {folder / 'ckpt'}: the run starts from the beginning{instead}")
    received = ranks.from_main(saved and saved.without_arrays())
    return saved or received


def find_run(folder: Path, cfg: Config, ranks: int = 1) -> SavedRun | None:
    """The checkpoint to resume from, in the folder of the run's checkpoints; None if it has none.

    Raises:
        InputError: the checkpoint cannot be used; the message names the next older one that can.
    """
    last = folder / "last.ckpt"
    if not cfg.resume_from and not last.exists() and not numbered(folder):
        return None
    path = Path(cfg.resume_from) if cfg.resume_from else last
    if real_path(path).parent != real_path(folder):
        raise InputError(
            f"{path}: is in another folder; resume it there, with "
            f"--output_path={real_path(path).parents[1]}"
        )
    saved = None
    try:
        saved = read_run(path)
        saved.check_config(cfg, ranks)
    except InputError as error:
        advice = suggest_other(path, folder, cfg, ranks)
        if saved is None and not advice:
            advice = "no other checkpoint of the run can be used; start again without --resume"
        raise InputError("\n  ".join(filter(None, [str(error), advice]))) from None
    return saved


def suggest_other(refused: Path, folder: Path, cfg: Config, ranks: int) -> str:
    """Names the next older checkpoint that is usable, or last.ckpt; "" if there is none."""
    numbers = [number for number, path in numbered(folder) if path.name == refused.name]
    older = [path for number, path in numbered(folder) if not numbers or number < numbers[0]]
    for path in [*older, folder / "last.ckpt"]:
        if real_path(path) == real_path(refused):
            continue
        try:
            saved = read_run(path)
            saved.check_config(cfg, ranks)
        except InputError:
            continue
        state = saved.state
        where = f"epoch {state['epoch']}, step {state['step']}"
        return f"{path} is usable ({where}): --resume=True --resume_from={path}"
    return ""


def best_on_disk(path: Path, steps_per_epoch: int) -> dict | None:
    """The evaluation ("AP", "epoch", "step") of best.ckpt; None if unreadable."""
    try:
        state = json.loads(load_entries(str(path))[STATE])
        step = renumbered(state["best"]["step"], state["steps_per_epoch"], steps_per_epoch)
        return {**state["best"], "step": step}
    except (InputError, KeyError):
        return None


def renumbered(step: int, before: int, now: int) -> int:
    """Converts a number of updates, rounded down; an epoch had `before` updates, has `now`."""
    epochs, rest = divmod(step, before)
    return epochs * now + rest * now // before


def restore_run(trainer: Trainer, saved: SavedRun) -> None:
    """Sets a new trainer to the state of a checkpoint that fits the configuration.

    Raises:
        InputError: the training split has changed.
    """
    state = saved.state
    if state["data"] != trainer.identity["data"]:
        raise InputError(
            f"{saved.path}: the run was trained on other annotations: the training split has "
            "changed since; start another run with --finetune"
        )
    if trainer.ranks.is_main:
        trainer.train_step.load(saved.arrays, updates=state["updates"])

    def number(step: int) -> int:
        return renumbered(step, state["steps_per_epoch"], trainer.plan.steps_per_epoch)

    trainer.step, trainer.ended_epochs = number(state["step"]), state["ended_epochs"]
    for name, part in trainer.parts().items():
        part.load(state[name])
    trainer.evaluator.renumber(number)


def rewind_folder(trainer: Trainer, saved: SavedRun, *, set_aside: bool) -> None:
    """Removes records that are later than the checkpoint; with `set_aside` moves checkpoints."""
    log, state, plan = trainer.log, saved.state, trainer.plan
    log.rewind(*saved.positions())
    log.line(f"resumed from {saved.path} (step {trainer.step} of {plan.total_steps})")
    if state["images_per_step"] != plan.images_per_step:
        log.line(
            f"an update has {plan.images_per_step} images now and had "
            f"{state['images_per_step']}, so steps are renumbered: {state['step']} is now "
            f"{trainer.step}"
        )
    # a killed run may have saved last.ckpt but not epoch_NN.ckpt
    checkpoints, epoch, last = trainer.checkpoints, trainer.ended_epochs, trainer.checkpoints.last
    if plan.is_kept(epoch, trainer.step):
        is_last = trainer.ranks.is_main and last.exists() and saved.path.samefile(last)
        if trainer.ranks.from_main(is_last):
            checkpoints.keep_epoch(epoch)
    if set_aside and trainer.ranks.is_main:
        checkpoints.move_later(saved.path, epoch, new_aside(log.folder) / "ckpt")
    # best.ckpt may be of a later step than the checkpoint
    on_disk = trainer.ranks.on_main(lambda: best_on_disk(checkpoints.best, plan.steps_per_epoch))
    trainer.evaluator.update_best(on_disk)
