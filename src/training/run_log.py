"""What a run writes down: log.txt, metrics.jsonl and TensorBoard's files."""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from traceback import format_exception
from typing import TextIO

from tqdm import tqdm

from src.runtime.errors import InputError, RunError
from src.runtime.files import path_in_errors, to_json, write_atomically
from src.runtime.signals import Interrupted
from src.training.board import Board

# (epoch, updates) of a run; the epoch comes first, since updates are numbered anew where a run goes
# on with another number of ranks
Position = tuple[int, float]


class RunLog:
    """Writes lines to log.txt and the console, and records to metrics.jsonl and TensorBoard.

    Until `open` it writes nothing to the folder, which may still be another run's, but keeps the
    lines. A console that is gone does not end the run. Of several ranks the first does all that;
    another one's lines go to ranks/rank_N.txt alone.

    Args:
        folder: the run's output_path; it must exist on the first rank.
        rank: of this process.
    """

    def __init__(self, folder: Path, rank: int = 0):
        self.folder = folder
        self.is_main = rank == 0
        self.path = folder / ("log.txt" if self.is_main else f"ranks/rank_{rank}.txt")
        self.kept: list[str] = []
        self.text: TextIO | None = None
        self.metrics: TextIO | None = None
        self.board: Board | None = None
        self.has_console = self.is_main

    def open(self) -> None:
        """Begins to write, with the lines that were kept."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.text = self.path.open("a", buffering=1, encoding="utf-8")
        if self.is_main:
            self._open_metrics()
        with path_in_errors(self.path):
            self.text.writelines(self.kept)

    def line(self, message: str, *, console: bool = True) -> None:
        """Logs a line with the time of day; a progress bar on the console stays whole."""
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
            except OSError:  # a pipe whose reader has ended, a terminal that was closed
                self.has_console = False

    def record(self, kind: str, **values) -> None:
        """Appends one JSON object to metrics.jsonl."""
        if not self.is_main:
            return
        with path_in_errors(self.folder / "metrics.jsonl"):
            self.metrics.write(to_json({"kind": kind, **values}) + "\n")

    def start_board(self, step: int) -> None:
        """Opens TensorBoard's file of this session, which begins after `step` updates."""
        if self.is_main:
            self.board = Board(self.folder / "tensorboard", step=step)

    def rewind(self, limits: Mapping[str, Position], limit: Position) -> None:
        """Drops records of what a resumed run does again.

        Args:
            limits: the last place that its checkpoint contains of some kinds of records.
            limit: that of all others.
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
        """Closes the files; of a run that failed, writes why to log.txt."""
        if isinstance(error, Exception) and not isinstance(error, Interrupted):
            known = isinstance(error, (InputError, RunError))
            why = f"error: {error}" if known else "".join(format_exception(kind, error, trace))
            with suppress(OSError):
                self.line(why, console=False)
        self.close()

    def close(self) -> None:
        for file in (self.text, self.metrics, self.board):
            if file is not None:
                file.close()


def is_kept(line: str, limits: Mapping[str, Position], limit: Position) -> bool:
    """Whether a line of metrics.jsonl tells of what a checkpoint contains; see `rewind`."""
    try:
        record = json.loads(line)
    except ValueError:  # the last one, cut short by a kill
        return False
    return (record["epoch"], record["step"]) <= limits.get(record["kind"], limit)
