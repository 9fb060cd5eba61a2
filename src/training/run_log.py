"""The logs of a run: log.txt and metrics.jsonl."""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from traceback import format_exception
from typing import TextIO

from tqdm import tqdm

from src.runtime.errors import InputError, RunError
from src.runtime.files import path_in_errors, to_json, write_atomically
from src.runtime.signals import Interrupted
from src.runtime.text import printable

# (epoch, updates); the epoch is first, since updates are renumbered if the number of ranks changes
Position = tuple[int, float]


class RunLog:
    """Writes lines to log.txt and the console, and records to metrics.jsonl.

    Until `open` it keeps the lines and writes nothing to the run's folder, which may still be
    another run's. A closed console does not end the run. Only the main rank does all this; lines of
    other ranks go to ranks/rank_N.txt.
    """

    def __init__(self, folder: Path, rank: int = 0):
        self.folder = folder
        self.is_main = rank == 0
        self.path = folder / ("log.txt" if self.is_main else f"ranks/rank_{rank}.txt")
        self.kept: list[str] = []
        self.text: TextIO | None = None
        self.metrics: TextIO | None = None
        self.has_console = self.is_main

    def open(self) -> None:
        """Starts to write, with the lines kept so far."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.text = self.path.open("a", buffering=1, encoding="utf-8")
        if self.is_main:
            self._open_metrics()
        with path_in_errors(self.path):
            self.text.writelines(self.kept)

    def line(self, message: str, *, console: bool = True) -> None:
        """Logs a line with date and time, without breaking a progress bar on the console."""
        message = printable(message, lines=True)
        timed = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n"
        if self.text is None:
            self.kept.append(timed)
        else:
            with path_in_errors(self.path):
                self.text.write(timed)
        if console and self.has_console:
            try:
                tqdm.write(message, file=sys.stdout)
                sys.stdout.flush()
            except OSError:  # a closed pipe or terminal
                self.has_console = False

    def record(self, kind: str, **values) -> None:
        """Appends a JSON object to metrics.jsonl."""
        if not self.is_main:
            return
        with path_in_errors(self.folder / "metrics.jsonl"):
            self.metrics.write(to_json({"kind": kind, **values}) + "\n")

    def rewind(self, limits: Mapping[str, Position], limit: Position) -> None:
        """Drops records of updates that a resumed run repeats.

        Args:
            limits: by kind of record, the last position that the checkpoint contains.
            limit: the same for all other kinds.
        """
        if not self.is_main:
            return
        path = self.folder / "metrics.jsonl"
        self.metrics.close()
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if is_kept(line, limits, limit)]
        write_atomically(path, "".join(line + "\n" for line in kept))
        self._open_metrics()

    def _open_metrics(self) -> None:
        self.metrics = (self.folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Closes the files; if the run failed, writes why to log.txt."""
        if isinstance(error, Exception) and not isinstance(error, Interrupted):
            known = isinstance(error, (InputError, RunError))
            why = f"error: {error}" if known else "".join(format_exception(kind, error, trace))
            with suppress(OSError):
                self.line(why, console=False)
        # files of a full disk fail once more when they are closed, which must not hide the error
        with suppress(OSError) if error is not None else nullcontext():
            self.close()

    def close(self) -> None:
        with ExitStack() as files:
            for file in (self.metrics, self.text):
                if file is not None:
                    files.callback(file.close)


def is_kept(line: str, limits: Mapping[str, Position], limit: Position) -> bool:
    """Whether a line of metrics.jsonl is within the limits; see `rewind`."""
    try:
        record = json.loads(line)
    except ValueError:  # the last line, truncated by a kill
        return False
    return (record["epoch"], record["step"]) <= limits.get(record["kind"], limit)
