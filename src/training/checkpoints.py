"""Checkpoints of a run, each written whole."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import mindspore as ms

from src.runtime.errors import RunError
from src.weights.checkpoint_file import RUN_PREFIX, flush_to_disk, write_entries

CONFIG, STATE = RUN_PREFIX + "config", RUN_PREFIX + "state"


class Checkpoints:
    """Writes `folder`/last.ckpt, best.ckpt and epoch_NN.ckpt, each moved into place when whole.

    Args:
        folder: made when something is saved.
        keep: newest epoch_NN.ckpt that stay.
        config: of the run, as YAML; stored in every file.
    """

    def __init__(self, folder: Path, *, keep: int, config: str):
        self.folder = folder
        self.keep = keep
        self.config = config

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    def save(self, path: Path, parameters: Mapping[str, ms.Parameter], state: dict) -> None:
        """Saves as `last` all that the run needs to go on, as `best` the weights evaluated."""
        write_checkpoint(path, parameters, self.config, state)

    def keep_epoch(self, epoch: int) -> None:
        """Keeps last.ckpt as that of `epoch` too, and deletes the oldest beyond `keep`.

        Raises:
            RunError: the disk is full, say.
        """
        if self.keep:
            copy_by_link(self.last, self.folder / f"epoch_{epoch:02d}.ckpt")
        for _, path in numbered(self.folder)[self.keep :]:
            path.unlink()

    def set_later_aside(self, chosen: Path, epoch: int, aside: Path) -> None:
        """Moves what lies after the checkpoint that a run goes back to into another folder.

        Args:
            chosen: that checkpoint; `epoch` had ended by then.
            aside: made when needed.
        """
        later = [path for number, path in numbered(self.folder) if number > epoch]
        for path in [self.last, *later]:
            if path.exists() and not path.samefile(chosen):
                aside.mkdir(parents=True, exist_ok=True)
                path.rename(aside / path.name)


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """(NN, path) of the epoch_NN.ckpt in the folder, newest first."""
    found = [(path.stem.partition("_")[2], path) for path in folder.glob("epoch_*.ckpt")]
    return sorted(((int(n), path) for n, path in found if n.isdecimal()), reverse=True)


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
    entries = [{"name": name, "data": parameter} for name, parameter in parameters.items()]
    about = {CONFIG: config, STATE: json.dumps(state)}
    about.update({RUN_PREFIX + key: state[key] for key in ("epoch", "step")})
    write_entries(path, entries, about)


def copy_by_link(source: Path, target: Path) -> None:
    """Makes `target` the file that `source` is now; a later os.replace of `source` leaves it.

    A hard link where the file system has them, a copy elsewhere; RunError where neither can be.
    """
    beside = target.with_name(".epoch.part")
    try:
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)
            flush_to_disk(beside)
        os.replace(beside, target)
        beside.unlink(missing_ok=True)  # it stays where both were one file already
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(
            f"{target}: cannot be written: {error.strerror}; {source} is whole"
        ) from error
