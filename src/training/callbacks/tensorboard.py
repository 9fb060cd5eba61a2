"""TensorBoard's event files."""

import time
from collections.abc import Mapping

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import image as image_summary
from tensorboardX.summary import scalar as scalar_summary

from src.runtime.files import path_in_errors
from src.training.callbacks.callback import Callback
from src.training.callbacks.moments import End, Evaluation, Start, Step

FOLDER = "tensorboard"  # in that of the run


class TensorBoard(Callback):
    """Writes scalars and images for TensorBoard; every session of a run adds a file.

    The calling thread writes the events: the thread of the library's usual writer stops when the
    disk is full, and then blocks the training.
    """

    def start(self, start: Start) -> None:
        self.folder = start.folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.writer = EventsWriter(str(self.folder / "events"))
        # hides later events of earlier sessions
        log = SessionLog(status=SessionLog.START)
        self._write(Event(step=start.step + 1, session_log=log))

    def step(self, step: Step) -> None:
        self._scalars(step.step, step.curves())
        self._flush()

    def evaluation(self, evaluation: Evaluation) -> None:
        self._scalars(evaluation.step, evaluation.curves())
        for name, picture in evaluation.pictures():
            self._image(evaluation.step, name, picture)
        self._flush()

    def end(self, end: End) -> None:
        self.writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._write(Event(step=step, summary=scalar_summary(name, value)))

    def _image(self, step: int, name: str, picture: np.ndarray) -> None:
        self._write(Event(step=step, summary=image_summary(name, picture, dataformats="HWC")))

    def _flush(self) -> None:
        """Makes events visible to readers; the writer's own flush also waits for the disk."""
        with path_in_errors(self.folder):
            self.writer._py_recordio_writer._writer.flush()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with path_in_errors(self.folder):
            self.writer.write_event(event)
