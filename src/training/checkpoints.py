"""Checkpoints of a run, each written whole."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
from mindspore import nn

from src.distributed.ranks import Ranks
from src.runtime.errors import RunError
from src.weights.checkpoint_file import EMA_PREFIX, RUN_PREFIX, flush_to_disk, write_entries

CONFIG, STATE = RUN_PREFIX + "config", RUN_PREFIX + "state"
Parameters = Mapping[str, ms.Parameter]


class Checkpoints:
    """Writes `folder`/last.ckpt, best.ckpt and epoch_NN.ckpt, each moved into place when whole.

    All ranks call a method together, and the main one writes.

    Args:
        folder: made when something is saved.
        keep: newest epoch_NN.ckpt that stay.
        config: of the run, as YAML; stored in every file.
        ranks: of the run; by default this process alone.

    Raises:
        RunError: by each method: a file cannot be written, since the disk is full, say.
    """

    def __init__(self, folder: Path, *, keep: int, config: str, ranks: Ranks | None = None):
        self.folder = folder
        self.keep = keep
        self.config = config
        self.ranks = ranks or Ranks()

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    def save(self, parameters: Parameters, state: dict, *, alone: bool = False) -> None:
        """Saves all that the run needs to continue as last.ckpt.

        Args:
            alone: whether only the main rank calls it; others may be gone.
        """
        if alone:
            write_checkpoint(self.last, parameters, self.config, state)
        else:
            self._write(self.last, parameters, state)

    def save_best(self, network: nn.Cell, state: dict) -> None:
        """Saves the weights that were evaluated as best.ckpt; averages lose their prefix."""
        weights = {p.name.removeprefix(EMA_PREFIX): p for p in network.get_parameters()}
        self._write(self.best, weights, state)

    def _write(self, path: Path, parameters: Parameters, state: dict) -> None:
        self.ranks.on_main(lambda: write_checkpoint(path, parameters, self.config, state))

    def keep_epoch(self, epoch: int) -> None:
        """Keeps last.ckpt as that of `epoch` too, and deletes the oldest beyond `keep`."""

        def work() -> None:
            if self.keep:
                copy_by_link(self.last, self.folder / f"epoch_{epoch:02d}.ckpt")
            for _, path in numbered(self.folder)[self.keep :]:
                path.unlink()

        self.ranks.on_main(work)

    def move_later(self, chosen: Path, epoch: int, aside: Path) -> None:
        """Moves checkpoints later than the one that a run resumes from into another folder.

        Args:
            chosen: that checkpoint, made when `epoch` had ended.
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


def write_checkpoint(path: Path, parameters: Parameters, config: str, state: dict) -> None:
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
