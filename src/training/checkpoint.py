"""Checkpoints of a run: last, best and the newest epochs."""

import os
import shutil
import time
from pathlib import Path

import mindspore as ms
from mindspore import nn

from src.files import FILE_MODE
from src.weights import RUN_PREFIX


class Checkpoints:
    """Writes `folder`/last.ckpt, best.ckpt and epoch_NN.ckpt, each moved into place when whole.

    A folder that an earlier run left there is moved aside first, so the two never mix.

    Args:
        folder: made here.
        keep: newest epoch_NN.ckpt that stay.
        metadata: strings and numbers stored in every file, under RUN_PREFIX.
    """

    def __init__(self, folder: Path, *, keep: int, metadata: dict):
        self.folder = folder
        self.keep = keep
        self.metadata = metadata
        self.epochs: list[Path] = []
        if folder.is_dir() and any(folder.iterdir()):
            folder.rename(folder.with_name(f"{folder.name}_{time.strftime('%Y%m%d-%H%M%S')}"))
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, network: nn.Cell, *, epoch: int, step: int) -> None:
        """Saves the network after `epoch` (from 1) as last.ckpt and epoch_NN.ckpt."""
        last = self.folder / "last.ckpt"
        self._write(network, last, epoch, step)
        if self.keep:
            self.epochs.append(self.folder / f"epoch_{epoch:02d}.ckpt")
            copy_by_link(last, self.epochs[-1])
        while len(self.epochs) > self.keep:
            self.epochs.pop(0).unlink()

    def save_best(self, network: nn.Cell, *, epoch: int, step: int) -> None:
        """Saves the network as best.ckpt."""
        self._write(network, self.folder / "best.ckpt", epoch, step)

    def _write(self, network: nn.Cell, path: Path, epoch: int, step: int) -> None:
        metadata = {**self.metadata, "epoch": epoch, "step": step}
        save_atomically(network, path, {RUN_PREFIX + k: v for k, v in metadata.items()})


def save_atomically(network: nn.Cell, path: Path, metadata: dict) -> None:
    """Writes a checkpoint beside `path` and moves it there, so `path` is never half-written."""
    beside = path.with_name(f".{path.stem}.part.ckpt")  # the suffix MindSpore insists on
    ms.save_checkpoint(network, str(beside), append_dict=metadata)
    beside.chmod(FILE_MODE)
    os.replace(beside, path)


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
