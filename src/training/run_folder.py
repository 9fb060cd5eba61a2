"""The folder of a run: used by one run at a time; earlier runs are moved aside."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from src.runtime.environment import SESSIONS, add_session
from src.runtime.errors import InputError
from src.runtime.files import write_atomically

if TYPE_CHECKING:
    from src.training.run_log import RunLog

RUN_FILES = (
    "ckpt", "log.txt", "metrics.jsonl", "tensorboard", "config.yaml", "run.json", "ranks",
    "val_images.txt", "trackers.json", "wandb", "swanlab",
)  # fmt: skip
LOCK = ".lock"


def lock_folder(folder: Path) -> IO | None:
    """Locks the folder while the returned file stays open.

    None if the file system has no locks. InputError if another run uses the folder.
    """
    file = (folder / LOCK).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(
            f"{folder}: another run is writing there; set --output_path to another folder"
        ) from None
    except OSError:
        file.close()
        return None
    return file


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """Where the block refuses a run, removes the folders and the lock that it made, if empty."""
    # os.path.exists answers for names that no folder can have, too
    made = [path for path in (folder / LOCK, folder, *folder.parents) if not os.path.exists(path)]
    try:
        yield
    except InputError:
        with suppress(OSError):  # the first folder that is not empty
            for path in made:
                if path.name == LOCK:
                    path.unlink(missing_ok=True)
                else:
                    path.rmdir()
        raise


def new_aside(folder: Path) -> Path:
    """A new subfolder's path, for files of an earlier run."""
    aside = folder / f"earlier_{time.strftime('%Y%m%d-%H%M%S')}"
    while aside.exists():
        aside = aside.with_name(aside.name + "b")
    return aside


def set_aside(folder: Path) -> Path | None:
    """Moves files of an earlier run to a subfolder; returns it, None if there were none."""
    left = [folder / name for name in RUN_FILES if (folder / name).exists()]
    if not left:
        return None
    aside = new_aside(folder)
    aside.mkdir()
    for path in left:
        path.rename(aside / path.name)
    return aside


def clear(folder: Path) -> None:
    """Deletes files of an earlier run."""
    for path in [folder / name for name in RUN_FILES]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def newest_aside(folder: Path) -> Path | None:
    """The newest subfolder with a run that can be resumed, if any."""
    found = sorted(folder.glob("earlier_*/ckpt/last.ckpt"))
    return found[-1].parents[1] if found else None


def prepare_folder(log: RunLog, config: str, facts: dict, *, is_new: bool, keep: bool) -> None:
    """Removes an earlier run from the log's folder, and starts to write there.

    Args:
        config: as YAML.
        facts: of this session, see `environment`.
        is_new: whether the run starts from its beginning.
        keep: whether files of an earlier run are moved aside instead of deleted.
    """
    folder = log.folder
    if not keep:
        clear(folder)
    elif is_new and (aside := set_aside(folder)):
        log.line(f"an earlier run in {folder} was moved to {aside}")
    log.open()
    write_atomically(folder / "config.yaml", config)
    log.line(add_session(folder / SESSIONS, facts))
