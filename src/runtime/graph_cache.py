"""Compiled graphs, kept on disk for the next start."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ENABLE, PLACE = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
ABANDONED = 24 * 3600  # seconds after which a half-written folder has no writer any more
KEPT = 20  # folders, of a few megabytes each

used_folders: list[Path] = []  # by this process; see GraphCache


class GraphCache:
    """Lets MindSpore keep what it compiles in a folder, and take it from there.

    MindSpore finds a graph by its number in the order in which a process compiles with the cache
    on, and does not compare it with the cell: cells compiled in another order get each other's
    graphs, without an error. So all of a folder's graphs are compiled in one go, the folder is that
    of one configuration and one state of the sources, and since MindSpore looks at the folder's
    name only once a process, only the first call does anything. A folder is written beside its
    place and moved there when whole, so that a kill leaves no half of one.

    Args:
        root: of the folders; made when needed.
        facts: all that decides what the graphs are, besides this project's sources.
    """

    def __init__(self, root: Path, facts: Sequence[Any]):
        self.folder = root / fingerprint(facts)

    def compile(self, work: Callable[[], None]) -> bool:
        """Calls `work`, which compiles; True where the graphs were there already."""
        if used_folders:
            work()
            return False
        used_folders.append(self.folder)
        if not os.access(self.folder, os.R_OK | os.X_OK):  # unlike is_dir, never raises
            self._write(work)
            return False
        with suppress(OSError):
            os.utime(self.folder)  # it was used last, whatever is pruned
        try:
            self._with_cache(work, self.folder)
            return True
        except RuntimeError:  # damaged, most likely; if not, the same error comes again
            shutil.rmtree(self.folder, ignore_errors=True)
            work()
            return False

    def _write(self, work: Callable[[], None]) -> None:
        beside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")
        prune(self.folder.parent)
        try:
            try:
                self._with_cache(work, beside)
            except OSError:  # MindSpore reads the script that was started, which may be no file
                work()
            # MindSpore says nothing where it could not write; the hash comes after the first graph
            if any(beside.glob("*/graph_cache/*.hash")) and not any_empty(beside):
                with suppress(OSError):  # no room, no permission, or another run was faster
                    beside.rename(self.folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _with_cache(self, work: Callable[[], None], place: Path) -> None:
        os.environ.update({ENABLE: "1", PLACE: str(place.absolute())})
        try:
            work()
        finally:
            os.environ[ENABLE] = "0"


def any_empty(folder: Path) -> bool:
    """Whether one of the files in the folder is empty."""
    return any(path.is_file() and not path.stat().st_size for path in folder.rglob("*"))


def fingerprint(facts: Sequence[Any]) -> str:
    """A name that changes with the facts and with this project's sources."""
    digest = hashlib.sha256()
    source = Path(__file__).parents[1]
    for path in sorted(source.rglob("*.py")):
        digest.update(str(path.relative_to(source)).encode() + path.read_bytes())
    digest.update(repr(list(facts)).encode())
    return digest.hexdigest()[:16]


def prune(root: Path) -> None:
    """Deletes what killed runs left half-written, and the folders that were used longest ago."""
    try:
        used = {path: path.stat().st_mtime for path in root.iterdir() if path.is_dir()}
    except OSError:  # there is none yet, or another run prunes too
        return
    parts = [path for path in used if path.name.endswith(".part")]
    abandoned = [path for path in parts if time.time() - used[path] > ABANDONED]
    whole = sorted((path for path in used if path not in parts), key=used.get, reverse=True)
    for path in [*abandoned, *whole[KEPT:]]:
        shutil.rmtree(path, ignore_errors=True)
