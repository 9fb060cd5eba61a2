"""Reads images, videos and streams to predict on."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from src.data.files.file_kinds import unread_format
from src.data.images import read_image
from src.prediction.addresses import OPEN_TIMEOUT, read_picture, shown_name, why_no_video
from src.prediction.inputs import ADDRESS
from src.runtime.errors import InputError
from src.runtime.special_files import refuse_special
from src.runtime.text import is_utf8

FRAMES_EXPECTED = 0.95  # of the frame count in the header, which may be a little too high
FALLBACK_RATE = 25.0  # frames per second, where the header has none
READ_TIMEOUT = 10.0  # seconds without anything from an address
NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Frame:
    """An image (H,W,3) uint8 RGB, or why there is none."""

    path: Path | str  # of the image or the video; an address without password
    image: np.ndarray
    number: int = 0  # of the frame in a video
    error: str = ""  # why it cannot be read, or its picture not be written, without path
    seconds: float | None = None  # since the video's first frame; None for an image


def read_images(images: Sequence[Path | str]) -> Iterator[Frame]:
    """A frame per image, a file or at an address."""
    quieten_opencv()
    for source in images:
        name = shown_name(source)
        try:
            image = read_image(source) if isinstance(source, Path) else read_picture(source)
            yield Frame(name, image)
        except InputError as error:
            yield Frame(name, NO_IMAGE, error=reason_alone(error, name))


def reason_alone(error: Exception, name: Path | str) -> str:
    """An error's message without the input's name before it."""
    return str(error).removeprefix(f"{name}: ")


class Video:
    """A video's frames in order; a camera's or an address's as they arrive.

    Attributes:
        name: its path, or its address without password.
        rate: frames per second.
        frames: frame count in the header; 0 where it has none.
        live: whether it has no known end, so that frames arrive at their own pace.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, source: Path | str):
        quieten_opencv()
        self.name = shown_name(source)
        self.capture = open_file(source) if isinstance(source, Path) else open_stream(source)
        rate = self.capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and rate > 0 else FALLBACK_RATE
        self.frames = max(int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.live = not isinstance(source, Path) and not self.frames

    def __iter__(self) -> Iterator[Frame]:
        number, seconds = 0, 0.0
        started = time.monotonic()
        try:
            while True:
                there, image = self.capture.read()
                if not there:
                    break
                if number == 0:
                    started = time.monotonic()
                elif self.live:
                    seconds = time.monotonic() - started
                else:
                    seconds = later(self.capture.get(cv2.CAP_PROP_POS_MSEC), seconds, self.rate)
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                yield Frame(self.name, image, number, seconds=seconds)
                number += 1
            if number < max(FRAMES_EXPECTED * self.frames, 1):
                message = f"only {number:,} of {self.frames:,} frames can be read"
                if not self.frames:
                    message = "no frame can be read"
                yield Frame(self.name, NO_IMAGE, number, message)
        finally:
            self.capture.release()


def open_file(path: Path) -> cv2.VideoCapture:
    """A video file, by FFmpeg alone, as others take "%d" for a number; InputError if that fails."""
    try:
        refuse_special(path)
        with opencv_name(path) as opened:
            capture = cv2.VideoCapture(opened, cv2.CAP_FFMPEG)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if capture.isOpened():
        return capture
    name = unread_format(path)
    what = f"{name}, which is not read" if name else "not a readable video; damaged or truncated?"
    raise InputError(f"{path}: {what}")


@contextmanager
def opencv_name(path: Path) -> Iterator[str]:
    """A name of a file or folder for OpenCV, which crashes on one that is not UTF-8."""
    name = str(path.absolute())
    if is_utf8(name):
        yield name
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def open_stream(address: str) -> cv2.VideoCapture:
    """A camera by its number or device, or an address; InputError where nothing can be read."""
    if ADDRESS.match(address):
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * OPEN_TIMEOUT)]
        timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * READ_TIMEOUT)]
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts)
    else:
        capture = cv2.VideoCapture(int(address) if address.isdecimal() else address)
    if capture.isOpened():
        return capture
    reason = "no such camera, or another program has it; `ls /dev/video*` shows what there is"
    if ADDRESS.match(address):
        reason = why_no_video(address)
    raise InputError(f"{shown_name(address)}: {reason}")


def later(position: float, before: float, rate: float) -> float:
    """Seconds of a frame from its position in milliseconds, if it is after the frame before."""
    seconds = position / 1000
    return seconds if math.isfinite(seconds) and seconds > before else before + 1 / rate


def quieten_opencv() -> None:
    """OpenCV and FFmpeg print nothing of their own; errors are told once, by this program."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    cv2.setLogLevel(0)
