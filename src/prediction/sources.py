"""Finds and reads images and videos to predict on."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from src.data.images import SUFFIXES, read_image
from src.runtime.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
FRAMES_EXPECTED = 0.95  # of the frame count in the header, which may be a little too high
FALLBACK_RATE = 25.0  # frames per second, where the header has none


@dataclass(frozen=True)
class Frame:
    """An image (H,W,3) uint8 RGB, or why there is none."""

    path: Path  # of the image or the video
    image: np.ndarray
    number: int = 0  # of the frame in a video
    error: str = ""  # why it cannot be read


def find_inputs(text: str, output: Path) -> tuple[list[Path], list[Path]]:
    """Images and videos of a file, a folder with its subfolders, or a glob pattern.

    Args:
        output: folder of earlier output, whose files a folder or pattern does not include.

    Raises:
        InputError: nothing was found.
    """
    if os.path.isfile(text):
        found = [Path(text)]
    elif os.path.isdir(text):
        found = [path for path in Path(text).rglob("*") if is_image(path) or is_video(path)]
    else:
        found = [Path(name) for name in glob.glob(text, recursive=True)]
    found = sorted(path for path in found if path.is_file())
    if found and not os.path.isfile(text):
        found = [path for path in found if output.resolve() not in path.resolve().parents]
        if not found:
            raise InputError(f"{text}: all of it is in {output}; set --output to another folder")
    if not found:
        raise InputError(
            f"{text}: no such file, and no folder with images ({' '.join(SUFFIXES)}) or videos; "
            "check --input"
        )
    return [p for p in found if not is_video(p)], [p for p in found if is_video(p)]


def is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_images(paths: Sequence[Path]) -> Iterator[Frame]:
    """A frame per image."""
    for path in paths:
        try:
            yield Frame(path, read_image(path))
        except InputError as error:
            yield Frame(path, np.zeros((0, 0, 3), np.uint8), error=str(error))


class Video:
    """A video's frames in order.

    Attributes:
        rate: frames per second.
        frames: frame count in the header; 0 where it has none.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, path: Path):
        self.path = path
        self.capture = cv2.VideoCapture(str(path))
        if not self.capture.isOpened():
            raise InputError(f"{path}: not a readable video; damaged or truncated?")
        self.rate = self.capture.get(cv2.CAP_PROP_FPS) or FALLBACK_RATE
        self.frames = max(int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)

    def __iter__(self) -> Iterator[Frame]:
        try:
            number = 0
            while True:
                there, image = self.capture.read()
                if not there:
                    break
                yield Frame(self.path, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number)
                number += 1
            if number < max(FRAMES_EXPECTED * self.frames, 1):
                message = f"{self.path}: only {number} of {self.frames} frames can be read"
                yield Frame(self.path, np.zeros((0, 0, 3), np.uint8), number, message)
        finally:
            self.capture.release()
