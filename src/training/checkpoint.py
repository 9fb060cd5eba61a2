"""Checkpoints of a run: written whole, checked when they are read."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import mindspore as ms
import numpy as np
import yaml

from src.config import Config, as_lists
from src.errors import InputError, RunError
from src.files import FILE_MODE
from src.weights import RUN_PREFIX, has_checksum, load_entries

CONFIG, STATE = RUN_PREFIX + "config", RUN_PREFIX + "state"
# keys that may change between the sessions of a run: where things are, how they are shown and
# stored, and what decides when the run ends rather than what it computes
FREE_ON_RESUME = (
    "coco_root", "voc_root", "image_dir", "anno_path", "val_anno_path", "val_split", "num_workers",
    "num_classes", "max_steps", "max_bad_steps", "eval_interval", "eval_start_epoch", "patience",
    "eval_batch_size", "checkpoint_path", "score_threshold", "nms_iou", "candidates",
    "max_detections", "pictures", "file_format", "file_name", "export_image", "output_path",
    "resume", "resume_from", "profile", "compile_cache", "device_id", "cpu_threads",
    "log_interval", "save_interval", "save_minutes", "keep_checkpoints",
)  # fmt: skip


class Checkpoints:
    """Writes `folder`/last.ckpt, best.ckpt and epoch_NN.ckpt, each moved into place when whole.

    Args:
        folder: made here.
        keep: newest epoch_NN.ckpt that stay.
        config: of the run, as YAML; stored in every file.
    """

    def __init__(self, folder: Path, *, keep: int, config: str):
        self.folder = folder
        self.keep = keep
        self.config = config
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    def save(self, parameters: Mapping[str, ms.Parameter], state: dict) -> None:
        """Saves all that the run needs to go on as last.ckpt."""
        write_checkpoint(self.last, parameters, self.config, state)

    def save_best(self, parameters: Mapping[str, ms.Parameter], state: dict) -> None:
        """Saves the weights that were evaluated as best.ckpt."""
        write_checkpoint(self.best, parameters, self.config, state)

    def keep_epoch(self, epoch: int) -> None:
        """Keeps last.ckpt as that of `epoch` too, and deletes the oldest beyond `keep`."""
        if self.keep:
            copy_by_link(self.last, self.folder / f"epoch_{epoch:02d}.ckpt")
        for path in self.epochs()[self.keep :]:
            path.unlink()

    def epochs(self) -> list[Path]:
        """The epoch_NN.ckpt, newest first."""
        return [path for _, path in sorted(numbered(self.folder), reverse=True)]


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """(NN, path) of the epoch_NN.ckpt in the folder."""
    found = [(path.stem.partition("_")[2], path) for path in folder.glob("epoch_*.ckpt")]
    return [(int(number), path) for number, path in found if number.isdecimal()]


def write_checkpoint(
    path: Path, parameters: Mapping[str, ms.Parameter], config: str, state: dict
) -> None:
    """Writes a checkpoint beside `path` and moves it there, so `path` is never half-written.

    Args:
        parameters: by the names they get in the file.
        config: of the run, as YAML.
        state: of the run, in types that JSON knows; "epoch" and "step" among them.

    Raises:
        RunError: the disk is full, say; what was at `path` is still there.
    """
    beside = path.with_name(f".{path.stem}.part.ckpt")  # the suffix MindSpore insists on
    entries = [{"name": name, "data": parameter} for name, parameter in parameters.items()]
    about = {CONFIG: config, STATE: json.dumps(state)}
    about.update({RUN_PREFIX + key: state[key] for key in ("epoch", "step")})
    logging.disable(logging.CRITICAL)  # MindSpore would add lines of its own to ours
    try:
        ms.save_checkpoint(entries, str(beside), append_dict=about, crc_check=True)
        beside.chmod(FILE_MODE)
        flush_to_disk(beside)
        os.replace(beside, path)
        flush_to_disk(path.parent)
    except (OSError, RuntimeError) as error:
        for rest in (beside, beside.with_suffix(".tmp")):  # MindSpore's own first name for it
            rest.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        kept = f"; the one before, {path}, is kept" if path.is_file() else ""
        raise RunError(f"{path}: the checkpoint cannot be written: {reason}{kept}") from error
    finally:
        logging.disable(logging.NOTSET)


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of files, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_by_link(source: Path, target: Path) -> None:
    """Makes `target` the file that `source` is now; a later os.replace of `source` leaves it.

    A hard link where the file system has them, a copy elsewhere.
    """
    beside = target.with_name(f".{target.name}.part")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    os.replace(beside, target)


@dataclass(frozen=True)
class SavedRun:
    """A checkpoint's contents: parameters by name, the run's state and its configuration."""

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict
    config: dict

    def check_config(self, cfg: Config) -> None:
        """InputError names the keys that may not change within a run and did."""
        differences = [
            f"{key}: {as_lists(self.config[key])} in the checkpoint, {as_lists(cfg[key])} now"
            for key in cfg
            if key in self.config and key not in FREE_ON_RESUME
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
    arrays = {
        name: entry.asnumpy()
        for name, entry in entries.items()
        if isinstance(entry, ms.Tensor) and not name.startswith(RUN_PREFIX)
    }
    return SavedRun(path, arrays, state, yaml.safe_load(entries[CONFIG]))


def find_run(folder: Path, chosen: str) -> Optional[SavedRun]:
    """The checkpoint to resume from, or None where the folder has none.

    Args:
        folder: of the run's checkpoints.
        chosen: a path, or empty for last.ckpt.

    Raises:
        InputError: the checkpoint cannot be used; names the next older one that can.
    """
    last = folder / "last.ckpt"
    older = [path for _, path in sorted(numbered(folder), reverse=True)]
    if not chosen and not last.exists() and not older:
        return None
    path = Path(chosen) if chosen else last
    try:
        return read_run(path)
    except InputError as error:
        raise InputError(f"{error}\n  {offer(path, older)}") from None


def offer(damaged: Path, candidates: list[Path]) -> str:
    """What to do instead: the first of the candidates, newest first, that is sound."""
    for path in candidates:
        if path.resolve() == damaged.resolve():
            continue
        try:
            state = read_run(path).state
        except InputError:
            continue
        return (
            f"{path} is sound (epoch {state['epoch']}, step {state['step']}): --resume_from={path}"
        )
    return "no older checkpoint of the run is sound; without --resume it starts anew"
