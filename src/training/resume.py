"""Resuming a run: its checkpoint found and checked, the trainer and the folder set back to it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.config.keys import keys_of_scope
from src.config.open_keys import settled
from src.distributed.ranks import Ranks
from src.runtime.errors import InputError
from src.training.checkpoints import CONFIG, STATE, numbered
from src.training.run_folder import new_aside, newest_aside
from src.training.run_log import Position, RunLog
from src.weights.checkpoint_file import RUN_PREFIX, has_checksum, load_entries, saved_config

if TYPE_CHECKING:
    from src.training.trainer import Trainer


@dataclass(frozen=True)
class SavedRun:
    """A checkpoint's contents: parameters by name, the run's state and its configuration."""

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict
    config: dict

    def without_arrays(self) -> SavedRun:
        """What the ranks need that do not read the checkpoint themselves."""
        return replace(self, arrays={})

    def positions(self) -> tuple[dict[str, Position], Position]:
        """The last records that the checkpoint contains; see `RunLog.rewind`."""
        state = self.state
        evaluated = state["evaluator"]["evaluated_step"]
        epochs, rest = divmod(evaluated, state["steps_per_epoch"])
        limits = {
            "evaluation": (epochs + 1, evaluated) if rest else (epochs, math.inf),
            "epoch": (state["ended_epochs"], math.inf),
        }
        return limits, (state["epoch"], state["step"])

    def check_config(self, cfg: Config, ranks: int) -> None:
        """InputError names the keys that may not change within a run and did.

        The number of ranks may, and the batch with it where an update has as many images as before.
        """
        cfg = settled(cfg, self.config)
        same_images = self.state["images_per_step"] == cfg.batch_size * cfg.accumulate * ranks
        free = keys_of_scope("session", *(["batch"] if same_images else []))
        differences = [
            f"{key}: {as_lists(self.config[key])} in the checkpoint, {as_lists(cfg[key])} now"
            for key in cfg
            if key in self.config and key not in free
            if as_lists(self.config[key]) != as_lists(cfg[key])
        ]
        if differences:
            raise InputError(
                "\n  ".join(
                    [
                        f"{self.path}: is of a run with another configuration",
                        *differences,
                        "resume with the run's own config.yaml, or start another with --finetune",
                    ]
                )
            )


def read_run(path: Path) -> SavedRun:
    """A checkpoint to go on from; InputError says what is wrong with it."""
    if path.is_file() and not has_checksum(path):
        raise InputError(f"{path}: has no checksum at its end: cut short, or not of a training run")
    entries = load_entries(str(path))
    if STATE not in entries or CONFIG not in entries:
        raise InputError(f"{path}: tells nothing of a run; it can only be used with --finetune")
    state = json.loads(entries[STATE])
    if "updates" not in state:
        raise InputError(f"{path}: holds weights alone; it can only be used with --finetune")
    if "images_per_step" not in state:
        raise InputError(f"{path}: is of an older version; it can only be used with --finetune")
    arrays = {
        name: entry.asnumpy()
        for name, entry in entries.items()
        if isinstance(entry, ms.Tensor) and not name.startswith(RUN_PREFIX)
    }
    return SavedRun(path, arrays, state, saved_config(entries, str(path)))


def find_saved(cfg: Config, log: RunLog, ranks: Ranks) -> SavedRun | None:
    """The checkpoint to go on from, its arrays on the main rank alone; None to start anew."""
    if not cfg.resume:
        return None
    folder = log.folder
    saved = find_run(folder / "ckpt", cfg, ranks.size) if ranks.is_main else None
    if ranks.is_main and saved is None:
        aside = newest_aside(folder)
        instead = f"; to go on with an earlier one, --output_path={aside}" if aside else ""
        log.line(f"no checkpoint in {folder / 'ckpt'}: the run starts from the beginning{instead}")
    told = ranks.from_main(saved and saved.without_arrays())
    return saved or told


def find_run(folder: Path, cfg: Config, ranks: int = 1) -> SavedRun | None:
    """The checkpoint to resume from, or None where the folder has none.

    Args:
        folder: of the run's checkpoints.
        cfg: names another than last.ckpt in `resume_from`, and must be the run's own.
        ranks: that go on with it.

    Raises:
        InputError: the checkpoint cannot be used; names the next older one that can.
    """
    last = folder / "last.ckpt"
    if not cfg.resume_from and not last.exists() and not numbered(folder):
        return None
    path = Path(cfg.resume_from) if cfg.resume_from else last
    if path.resolve().parent != folder.resolve():
        raise InputError(
            f"{path}: is of another folder; resume it where it lies, with "
            f"--output_path={path.resolve().parents[1]}"
        )
    try:
        return read_checked(path, cfg, ranks)
    except InputError as error:
        raise InputError(f"{error}\n  {suggest_other(path, folder, cfg, ranks)}") from None


def read_checked(path: Path, cfg: Config, ranks: int) -> SavedRun:
    """A checkpoint that a run of the configuration can go on from; InputError if it is not."""
    saved = read_run(path)
    saved.check_config(cfg, ranks)
    return saved


def suggest_other(refused: Path, folder: Path, cfg: Config, ranks: int) -> str:
    """What to do instead: the next older checkpoint that is usable, or last.ckpt."""
    numbers = [number for number, path in numbered(folder) if path.name == refused.name]
    older = [path for number, path in numbered(folder) if not numbers or number < numbers[0]]
    for path in [*older, folder / "last.ckpt"]:
        if path.resolve() == refused.resolve():
            continue
        try:
            state = read_checked(path, cfg, ranks).state
        except InputError:
            continue
        where = f"epoch {state['epoch']}, step {state['step']}"
        return f"{path} is sound ({where}): --resume=True --resume_from={path}"
    return "no other checkpoint of the run can be used; without --resume it starts anew"


def best_on_disk(path: Path, steps_per_epoch: int) -> dict | None:
    """The evaluation ("AP", "epoch", "step") that best.ckpt is of; None where it is unreadable."""
    try:
        state = json.loads(load_entries(str(path))[STATE])
        step = renumbered(state["best"]["step"], state["steps_per_epoch"], steps_per_epoch)
        return {**state["best"], "step": step}
    except (InputError, KeyError):
        return None


def renumbered(step: int, before: int, now: int) -> int:
    """Number of the update where as much of the run is done, rounded down.

    Args:
        step: updates that were made; before, now: to an epoch, which differ with the ranks.
    """
    epochs, rest = divmod(step, before)
    return epochs * now + rest * now // before


def restore_run(trainer: Trainer, saved: SavedRun) -> None:
    """Takes a run up where its checkpoint was made.

    Args:
        trainer: new, and made for a checkpoint.
        saved: fits the configuration; its arrays are needed on the main rank alone.

    Raises:
        InputError: the training split is not the one that the run was trained on.
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


def rewind_folder(trainer: Trainer, saved: SavedRun, *, set_aside: bool = False) -> None:
    """Leaves in the run's folder only what comes before the checkpoint it resumes from.

    Args:
        set_aside: whether checkpoints that are later than it are moved to another folder.
    """
    log, state, plan = trainer.log, saved.state, trainer.plan
    log.rewind(*saved.positions())
    log.line(f"resumed from {saved.path} (step {trainer.step} of {plan.total_steps})")
    if state["images_per_step"] != plan.images_per_step:
        log.line(
            f"an update has {plan.images_per_step} images now and had "
            f"{state['images_per_step']}, so steps are numbered anew: {state['step']} then is "
            f"{trainer.step} now"
        )
    # a run that was killed may have saved last.ckpt, and not yet kept it as that of its epoch
    checkpoints, epoch, last = trainer.checkpoints, trainer.ended_epochs, trainer.checkpoints.last
    if plan.is_kept(epoch, trainer.step):
        is_last = trainer.ranks.is_main and last.exists() and saved.path.samefile(last)
        if trainer.ranks.from_main(is_last):
            checkpoints.keep_epoch(epoch)
    if set_aside and trainer.ranks.is_main:
        checkpoints.move_later(saved.path, epoch, new_aside(log.folder) / "ckpt")
    # what best.ckpt holds may be of a later step than the checkpoint
    on_disk = trainer.ranks.on_main(lambda: best_on_disk(checkpoints.best, plan.steps_per_epoch))
    trainer.evaluator.update_best(on_disk)
