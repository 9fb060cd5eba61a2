"""A cache of compiled graphs on disk."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ENABLE, PLACE = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
ABANDONED = 24 * 3600  # seconds after which a half-written folder is deleted
GRAPHS = ".graphs"  # folder beside output_path, shared by runs; can be deleted any time
KEPT = 20  # folders, of a few megabytes each

used_folders: list[Path] = []  # of this process, at most one; see GraphCache


class GraphCache:
    """Lets MindSpore keep compiled graphs in a folder, and load them from there.

    MindSpore finds a graph by its number in the order of compilation and does not compare it with
    the cell: cells compiled in another order silently get each other's graphs. So all graphs of a
    folder are compiled in one go, and a folder belongs to one configuration and one state of the
    sources. MindSpore reads the folder's name once per process, so only the first call uses the
    cache. A folder is written under a temporary name and renamed when complete.

    Args:
        root: of the folders; created when needed.
        facts: all that determines the graphs, besides this project's sources.
    """

    def __init__(self, root: Path, facts: Sequence[Any]):
        self.folder = root / fingerprint(facts)

    def compile(self, work: Callable[[], None]) -> bool:
        """Calls `work`, which compiles; True if the graphs were in the cache."""
        if used_folders:
            work()
            return False
        used_folders.append(self.folder)
        if not os.access(self.folder, os.R_OK | os.X_OK):  # unlike is_dir, never raises
            self._write(work)
            return False
        with suppress(OSError):
            os.utime(self.folder)  # marks it as used last, for `prune`
        try:
            self._with_cache(work, self.folder)
            return True
        except RuntimeError:  # most likely damaged; if not, the error occurs again
            shutil.rmtree(self.folder, ignore_errors=True)
            work()
            return False

    def _write(self, work: Callable[[], None]) -> None:
        beside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")
        prune(self.folder.parent)
        try:
            try:
                self._with_cache(work, beside)
            except OSError:  # MindSpore reads the script that was started, which may not be a file
                work()
            # MindSpore does not report a failed write; the hash is written after the first graph
            if any(beside.glob("*/graph_cache/*.hash")) and not any_empty(beside):
                with suppress(OSError):  # disk full, no permission, or another run was faster
                    beside.rename(self.folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _with_cache(self, work: Callable[[], None], folder: Path) -> None:
        os.environ.update({ENABLE: "1", PLACE: str(folder.absolute())})
        try:
            work()
        finally:
            os.environ[ENABLE] = "0"


def any_empty(folder: Path) -> bool:
    """Whether any file in the folder is empty."""
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
    """Deletes half-written folders of killed runs, and the least recently used ones."""
    try:
        used = {path: path.stat().st_mtime for path in root.iterdir() if path.is_dir()}
    except OSError:  # it does not exist yet, or another run prunes too
        return
    parts = [path for path in used if path.name.endswith(".part")]
    abandoned = [path for path in parts if time.time() - used[path] > ABANDONED]
    whole = sorted((path for path in used if path not in parts), key=used.get, reverse=True)
    for path in [*abandoned, *whole[KEPT:]]:
        shutil.rmtree(path, ignore_errors=True)
