"""What predictions leave: annotated pictures, annotated videos, and entries of a json list."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import cv2
import numpy as np

from src.data.drawing import colour, draw_box
from src.data.images import SUFFIXES
from src.detection.postprocess import Detections
from src.errors import InputError
from src.files import naming
from src.prediction.sources import FALLBACK_RATE, Frame

CODEC = "mp4v"  # which OpenCV brings along
PLAIN_SIDE = 640  # pixels; larger images get larger letters, so that they can be read when shrunk
BOX_DECIMALS, SCORE_DECIMALS = 2, 4


def draw(image: np.ndarray, found: Detections, names: Sequence[str], least: float) -> np.ndarray:
    """A copy of the image (H,W,3) with the detections of at least that score, the best on top."""
    picture = image.copy()
    scale = max(max(image.shape) / PLAIN_SIDE, 1.0)
    for row in np.flatnonzero(found.scores >= least)[::-1]:
        label = int(found.labels[row])
        text = f"{names[label]} {found.scores[row]:.2f}"
        draw_box(picture, found.boxes[row], text, colour(label), scale)
    return picture


def entry_of(frame: Frame, found: Detections, names: Sequence[str], rate: float) -> dict:
    """A frame's entry in the json list; with its number and time in a video of that `rate`."""
    height, width = frame.image.shape[:2]
    objects = [
        {
            "box": [round(float(side), BOX_DECIMALS) for side in box],
            "score": round(float(score), SCORE_DECIMALS),
            "class": names[label],
        }
        for box, score, label in zip(found.boxes, found.scores, found.labels)
    ]
    place = {"frame": frame.number, "seconds": round(frame.number / rate, 3)} if rate else {}
    entry = {"file": str(frame.path), **place, "width": width, "height": height}
    return {**entry, "objects": objects}


class Pictures:
    """Annotated copies of images, in the same folders below `folder` as below their common one.

    Args:
        paths: of all images.

    Raises:
        InputError: a picture would overwrite an image.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]):
        parents = [path.absolute().parent for path in paths]
        common = Path(*common_parts([parent.parts for parent in parents]))
        self.targets = {}
        for path in paths:
            target = folder / path.absolute().relative_to(common)
            if target.suffix.lower() not in SUFFIXES:
                target = target.with_name(target.name + ".jpg")
            if target.resolve() == path.resolve():
                raise InputError(f"{path}: would be overwritten; set --output to another folder")
            self.targets[path] = target

    def write(self, frame: Frame, picture: np.ndarray) -> None:
        """Writes the picture of a frame."""
        target = self.targets[frame.path]
        target.parent.mkdir(parents=True, exist_ok=True)
        with naming(target):
            _, data = cv2.imencode(target.suffix, picture[..., ::-1])
            target.write_bytes(data.tobytes())


def common_parts(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """The parts that all paths begin with."""
    parts = []
    for level in zip(*paths):
        if len(set(level)) > 1:
            break
        parts.append(level[0])
    return parts


class VideoFile:
    """An annotated copy of a video: an .mp4 of its name in `folder`.

    Raises:
        InputError: it would overwrite the video.
    """

    def __init__(self, folder: Path, path: Path):
        self.target = folder / f"{path.stem}.mp4"
        if self.target.resolve() == path.resolve():
            raise InputError(f"{path}: would be overwritten; set --output to another folder")
        self.rate = FALLBACK_RATE
        self.writer: Optional[cv2.VideoWriter] = None

    def write(self, frame: Frame, picture: np.ndarray) -> None:
        """Adds the next frame."""
        if self.writer is None:
            height, width = picture.shape[:2]
            codec = cv2.VideoWriter_fourcc(*CODEC)
            self.writer = cv2.VideoWriter(str(self.target), codec, self.rate, (width, height))
            if not self.writer.isOpened():
                raise OSError(errno.EIO, "cannot be written as a video", str(self.target))
        self.writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self) -> None:
        """Finishes the file."""
        if self.writer is not None:
            self.writer.release()
