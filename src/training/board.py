"""TensorBoard's event files."""

import math
import time
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import image as image_summary
from tensorboardX.summary import scalar as scalar_summary

from src.runtime.files import path_in_errors


class Board:
    """Writes scalars and images for TensorBoard.

    The calling thread writes the events: the thread of the library's usual writer stops when the
    disk is full, and then blocks the training.

    Args:
        folder: created if missing; every session of a run adds a file.
        step: updates made so far; later events of earlier sessions are hidden.
    """

    def __init__(self, folder: Path, *, step: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.writer = EventsWriter(str(folder / "events"))
        started = Event(step=step + 1, session_log=SessionLog(status=SessionLog.START))
        self._write(started)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Adds a point to the curve of each finite value."""
        for name, value in values.items():
            if math.isfinite(value):
                self._write(Event(step=step, summary=scalar_summary(name, value)))

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Adds a picture (H,W,3) uint8 RGB."""
        self._write(Event(step=step, summary=image_summary(name, picture, dataformats="HWC")))

    def flush(self) -> None:
        """Makes events visible to readers; the writer's own flush also waits for the disk."""
        with path_in_errors(self.folder):
            self.writer._py_recordio_writer._writer.flush()

    def close(self) -> None:
        self.writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with path_in_errors(self.folder):
            self.writer.write_event(event)
