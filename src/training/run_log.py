"""What a run writes down: log.txt, metrics.jsonl and TensorBoard's files."""

import json
import sys
import time
from pathlib import Path
from typing import Optional

from tqdm import tqdm

from src.files import naming, to_json, write_atomically
from src.training.board import Board


class RunLog:
    """Writes lines to log.txt and the console, and records to metrics.jsonl and TensorBoard.

    Args:
        folder: the run's output_path; it must exist.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.text = (folder / "log.txt").open("a", buffering=1, encoding="utf-8")
        self.metrics = (folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")
        self.board: Optional[Board] = None

    def line(self, message: str, *, console: bool = True) -> None:
        """Logs a line with the time of day; a progress bar on the console stays whole."""
        with naming(self.folder / "log.txt"):
            self.text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
        if console:
            tqdm.write(message, file=sys.stdout)
            sys.stdout.flush()

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
        self.text.close()
        self.metrics.close()
        if self.board:
            self.board.close()


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
