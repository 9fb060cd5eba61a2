"""What a run writes down: log.txt, metrics.jsonl and TensorBoard's files."""

import json
import sys
import time
from pathlib import Path
from typing import Optional, TextIO

from tqdm import tqdm

from src.files import naming, to_json, write_atomically
from src.training.board import Board


class RunLog:
    """Writes lines to log.txt and the console, and records to metrics.jsonl and TensorBoard.

    Until `open` it writes nothing to the folder, which may still be another run's, but keeps the
    lines. A console that is gone does not end the run.

    Args:
        folder: the run's output_path; it must exist.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.kept: list[str] = []
        self.text: Optional[TextIO] = None
        self.metrics: Optional[TextIO] = None
        self.board: Optional[Board] = None
        self.has_console = True

    def open(self) -> None:
        """Begins to write, with the lines that were kept."""
        self.text = (self.folder / "log.txt").open("a", buffering=1, encoding="utf-8")
        self.metrics = (self.folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")
        with naming(self.folder / "log.txt"):
            self.text.writelines(self.kept)

    def line(self, message: str, *, console: bool = True) -> None:
        """Logs a line with the time of day; a progress bar on the console stays whole."""
        timed = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n"
        if self.text is None:
            self.kept.append(timed)
        else:
            with naming(self.folder / "log.txt"):
                self.text.write(timed)
        if console and self.has_console:
            try:
                tqdm.write(message, file=sys.stdout)
                sys.stdout.flush()
            except OSError:  # a pipe whose reader has ended, a terminal that was closed
                self.has_console = False

    def record(self, kind: str, **values) -> None:
        """Appends one JSON object to metrics.jsonl."""
        with naming(self.folder / "metrics.jsonl"):
            self.metrics.write(to_json({"kind": kind, **values}) + "\n")

    def start_board(self, step: int) -> None:
        """Opens TensorBoard's file of this session, which begins after `step` updates."""
        self.board = Board(self.folder / "tensorboard", step=step)

    def rewind(self, *, step: int, evaluated_step: int, ended_epochs: int) -> None:
        """Drops records of what a resumed run does again.

        Args:
            step: updates that its checkpoint contains.
            evaluated_step: after which it was last evaluated.
            ended_epochs: that it has done with.
        """
        path = self.folder / "metrics.jsonl"
        self.metrics.close()
        lines = path.read_text(encoding="utf-8").splitlines()
        limits = {"evaluation": ("step", evaluated_step), "epoch": ("epoch", ended_epochs)}
        kept = [line for line in lines if is_kept(line, limits, step)]
        write_atomically(path, "".join(line + "\n" for line in kept))
        self.metrics = path.open("a", buffering=1, encoding="utf-8")

    def close(self) -> None:
        for file in (self.text, self.metrics, self.board):
            if file is not None:
                file.close()


def is_kept(line: str, limits: dict[str, tuple[str, int]], step: int) -> bool:
    """Whether a line of metrics.jsonl tells of what a checkpoint contains.

    Args:
        limits: of some kinds of records, a field and its largest value.
        step: the largest "step" of all others.
    """
    try:
        record = json.loads(line)
    except ValueError:  # the last one, cut short by a kill
        return False
    field, largest = limits.get(record["kind"], ("step", step))
    return record[field] <= largest
