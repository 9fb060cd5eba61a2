"""Checkpoints of a run, each written atomically."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
from mindspore import nn

from src.distributed.ranks import Ranks
from src.runtime.errors import RunError
from src.weights.checkpoint_config import CONFIG, STATE
from src.weights.checkpoint_file import EMA_PREFIX, RUN_PREFIX, flush_to_disk, write_entries

Parameters = Mapping[str, ms.Parameter]


class Checkpoints:
    """Writes `folder`/last.ckpt, best.ckpt and epoch_NN.ckpt, each moved into place when complete.

    All ranks call a method together, and the main one writes. Each method raises RunError if a file
    cannot be written, e.g. because the disk is full.

    Args:
        folder: created when something is saved.
        keep: number of newest epoch_NN.ckpt to keep.
        config: the run's configuration as YAML, stored in every file.
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

    def of_epoch(self, epoch: int) -> Path:
        """The file that `keep_epoch` writes."""
        return self.folder / f"epoch_{epoch:02d}.ckpt"

    def save(self, parameters: Parameters, state: dict, *, alone: bool = False) -> None:
        """Saves last.ckpt; with `alone` only the main rank calls it, because others may be gone."""
        if alone:
            write_checkpoint(self.last, parameters, self.config, state)
        else:
            self._write(self.last, parameters, state)

    def save_best(self, network: nn.Cell, state: dict) -> None:
        """Saves the evaluated weights as best.ckpt; averages without their prefix."""
        weights = {p.name.removeprefix(EMA_PREFIX): p for p in network.get_parameters()}
        self._write(self.best, weights, state)

    def _write(self, path: Path, parameters: Parameters, state: dict) -> None:
        self.ranks.on_main(lambda: write_checkpoint(path, parameters, self.config, state))

    def keep_epoch(self, epoch: int) -> None:
        """Keeps last.ckpt as epoch_NN.ckpt too, and deletes the oldest beyond `keep`."""

        def work() -> None:
            if self.keep:
                copy_by_link(self.last, self.of_epoch(epoch))
            for _, path in numbered(self.folder)[self.keep :]:
                path.unlink()

        self.ranks.on_main(work)

    def move_later(self, chosen: Path, epoch: int, aside: Path) -> None:
        """Moves checkpoints that are later than `chosen`, of `epoch`, to the folder `aside`."""
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
    """Writes a checkpoint atomically; the `state` of the run is JSON with "epoch" and "step".

    Raises:
        RunError: for example the disk is full; the old file at `path` remains.
    """
    about = {CONFIG: config, STATE: json.dumps(state)}
    about.update({RUN_PREFIX + key: state[key] for key in ("epoch", "step")})
    write_entries(path, parameters, about)


def copy_by_link(source: Path, target: Path) -> None:
    """Makes `target` a hard link to `source`, or a copy if the file system has no links.

    A later os.replace of `source` does not change it. RunError if neither is possible.
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
        beside.unlink(missing_ok=True)  # os.replace leaves it if both are links to one file
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(
            f"{target}: cannot be written: {error.strerror}; {source} is complete"
        ) from error
