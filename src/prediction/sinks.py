"""Output of predictions: annotated pictures, annotated videos, and entries of a JSON list."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from src.data.drawing import Mark, colour, draw_marks
from src.detection.postprocess import Detections
from src.prediction.sources import Frame, opencv_name
from src.runtime.errors import NotWritten
from src.runtime.files import write_atomically

CODEC = "mp4v"  # part of OpenCV
MOST_RATE = 65_535  # its frame rate is a fraction of numbers of 16 bits
LEAST_RATE = 0.01  # frames per second
MOST_SIDE = 8_190  # pixels of a side; larger frames are scaled down
MOST_LIVE_RATE = 60.0  # an address's header may give its clock's rate instead, 90,000
MOST_REPEATED = 10.0  # seconds in which a frame of a camera is repeated
FULL = (errno.ENOSPC, errno.EDQUOT)
BASE_SIDE = 640  # pixels; text and lines grow with larger images
BOX_DECIMALS, SCORE_DECIMALS = 2, 4


def draw(
    image: np.ndarray, found: Detections, names: Sequence[str], min_score: float
) -> np.ndarray:
    """A copy of the image (H,W,3) with the detections from `min_score` up, the best on top."""
    picture = image.copy()
    scale = max(max(image.shape) / BASE_SIDE, 1.0)
    marks = [
        Mark(box, f"{names[label]} {score:.2f}", colour(int(label)))
        for box, score, label in zip(found.boxes, found.scores, found.labels)
        if score >= min_score
    ]
    draw_marks(picture, marks, scale)
    return picture


def json_entry(frame: Frame, found: Detections, names: Sequence[str]) -> dict:
    """A frame's entry in the JSON list; with number and time if it is of a video."""
    height, width = frame.image.shape[:2]
    objects = [
        {
            "box": [round(float(side), BOX_DECIMALS) for side in box],
            "score": round(float(score), SCORE_DECIMALS),
            "class": names[label],
        }
        for box, score, label in zip(found.boxes, found.scores, found.labels)
    ]
    entry = {"file": str(frame.path)}
    if frame.seconds is not None:
        entry |= {"frame": frame.number, "seconds": round(frame.seconds, 3)}
    return {**entry, "width": width, "height": height, "objects": objects}


def write_picture(targets: Mapping[str | Path, Path], frame: Frame, picture: np.ndarray) -> None:
    """Writes a frame's picture (H,W,3) RGB to its target.

    Raises:
        NotWritten: it cannot be written; others may be.
        OSError: the disk is full.
    """
    target = targets[frame.path]
    with not_written(target):
        done, data = cv2.imencode(target.suffix, picture[..., ::-1])
        if not done:
            height, width = picture.shape[:2]
            kind = target.suffix[1:].lower()
            raise NotWritten(f"{width} x {height} pixels cannot be written as {kind}")
        write_atomically(target, data.tobytes())


@contextmanager
def not_written(path: Path) -> Iterator[None]:
    """Turns what goes wrong with one file into NotWritten; a full disk concerns all."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        raise NotWritten(f"cannot be written to {path}: {error.strerror or error}") from error
    except (cv2.error, ValueError) as error:
        raise NotWritten(f"cannot be written to {path}: {error}") from error


class VideoFile:
    """An annotated video, written beside `target` and moved there at the end.

    An exception leaves no file. A failure to write raises nothing: it is in `error` at the end,
    and no further frames are written.

    Args:
        rate: frames per second.
        live: whether frames come irregularly, and each is repeated until the next one's time.
    """

    def __init__(self, target: Path, rate: float, *, live: bool = False):
        self.target = target
        stem = target.stem.encode(errors="replace").decode()  # OpenCV crashes on other names
        self.partial = target.with_name(f".{stem}.part{target.suffix}")
        self.rate = writable_rate(min(rate, MOST_LIVE_RATE) if live else rate)
        self.live = live
        self.writer: cv2.VideoWriter | None = None
        self.size = (0, 0)  # width and height
        self.count = 0  # frames written
        self.error = ""

    def __enter__(self) -> "VideoFile":
        return self

    def write(self, frame: Frame, picture: np.ndarray) -> None:
        """Adds the next frame."""
        if self.error:
            return
        try:
            with not_written(self.target):
                if self.writer is None:
                    self._open(picture)
                if picture.shape[1::-1] != self.size:  # too large, odd, or a camera was turned
                    picture = cv2.resize(picture, self.size)
                picture = np.ascontiguousarray(picture[..., ::-1])
                due = round((frame.seconds or 0.0) * self.rate) + 1 if self.live else 0
                for _ in range(min(max(due - self.count, 1), round(MOST_REPEATED * self.rate) + 1)):
                    self.writer.write(picture)
                    self.count += 1
        except NotWritten as error:
            self.error = str(error)

    def _open(self, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        scale = min(1.0, MOST_SIDE / max(height, width))
        self.size = tuple(max(round(side * scale) // 2 * 2, 2) for side in (width, height))
        self.target.parent.mkdir(parents=True, exist_ok=True)
        codec = cv2.VideoWriter_fourcc(*CODEC)
        with opencv_name(self.partial.parent) as folder:
            name = os.path.join(folder, self.partial.name)
            self.writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, self.rate, self.size)
        if not self.writer.isOpened():
            raise NotWritten(
                f"{self.target} cannot be written as a video of {width} x {height} pixels at "
                f"{self.rate:g} frames a second, or not in this folder"
            )

    def __exit__(self, kind, error, traceback) -> None:
        if self.writer is None:
            return
        self.writer.release()
        try:
            if kind is None and not self.error:
                with not_written(self.target):
                    self._check()
                    os.replace(self.partial, self.target)
        except NotWritten as failed:
            self.error = str(failed)
        finally:
            with suppress(OSError):
                self.partial.unlink(missing_ok=True)

    def _check(self) -> None:
        """NotWritten unless the file holds all frames: a full disk is no error for the writer."""
        with opencv_name(self.partial) as name:
            video = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        held = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        video.release()
        if held < self.count:
            raise NotWritten(
                f"{self.target}: only {held:,} of {self.count:,} frames were written; disk full?"
            )


def writable_rate(rate: float) -> float:
    """A frame rate that the codec can store; it keeps three decimals of low ones."""
    rate = min(max(rate, LEAST_RATE), MOST_RATE)
    return rate if 1000 * rate <= MOST_RATE else float(round(rate))
