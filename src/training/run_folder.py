"""The folder of a run: one run at a time, and earlier ones kept apart."""

from __future__ import annotations

import fcntl
import shutil
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from src.runtime.environment import add_session
from src.runtime.errors import InputError
from src.runtime.files import write_atomically

if TYPE_CHECKING:
    from src.training.run_log import RunLog

RUN_FILES = (
    "ckpt", "log.txt", "metrics.jsonl", "tensorboard", "config.yaml", "run.json", "ranks",
)  # fmt: skip
LOCK = ".lock"


def lock_folder(folder: Path) -> IO | None:
    """Keeps other runs out of the folder for as long as the file that is returned stays open.

    None where the file system has no locks. InputError where another run is at work there.
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


def new_aside(folder: Path) -> Path:
    """A folder in `folder` for what is no longer of its run; it is not there yet."""
    aside = folder / f"earlier_{time.strftime('%Y%m%d-%H%M%S')}"
    while aside.exists():
        aside = aside.with_name(aside.name + "b")
    return aside


def set_aside(folder: Path) -> Path | None:
    """Moves what an earlier run left in the folder into one of its own; returns that, if any."""
    left = [folder / name for name in RUN_FILES if (folder / name).exists()]
    if not left:
        return None
    aside = new_aside(folder)
    aside.mkdir()
    for path in left:
        path.rename(aside / path.name)
    return aside


def clear(folder: Path) -> None:
    """Deletes what an earlier run left in the folder."""
    for path in [folder / name for name in RUN_FILES]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def newest_aside(folder: Path) -> Path | None:
    """The folder of the run that was set aside last in the folder, if one can be resumed."""
    found = sorted(folder.glob("earlier_*/ckpt/last.ckpt"))
    return found[-1].parents[1] if found else None


def prepare_folder(log: RunLog, config: str, facts: dict, *, is_new: bool, keep: bool) -> None:
    """Makes the log's folder this run's own, and starts to write there.

    Args:
        config: of the run, as YAML.
        facts: of this session, see `environment`.
        is_new: whether the run starts from its beginning.
        keep: whether files of an earlier run are set aside; otherwise they are deleted.
    """
    folder = log.folder
    if not keep:
        clear(folder)
    elif is_new and (aside := set_aside(folder)):
        log.line(f"an earlier run in {folder} was moved to {aside}")
    log.open()
    write_atomically(folder / "config.yaml", config)
    log.line(add_session(folder / "run.json", facts))
