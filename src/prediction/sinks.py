"""Output of predictions: annotated pictures, annotated videos, and entries of a JSON list."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from src.data.drawing import colour, draw_box
from src.detection.postprocess import Detections
from src.prediction.sources import Frame, is_image, is_video
from src.runtime.errors import InputError
from src.runtime.files import path_in_errors, write_atomically

CODEC = "mp4v"  # part of OpenCV
BASE_SIDE = 640  # pixels; text and lines grow with larger images
BOX_DECIMALS, SCORE_DECIMALS = 2, 4


def draw(
    image: np.ndarray, found: Detections, names: Sequence[str], min_score: float
) -> np.ndarray:
    """A copy of the image (H,W,3) with the detections from `min_score` up, the best on top."""
    picture = image.copy()
    scale = max(max(image.shape) / BASE_SIDE, 1.0)
    for row in np.flatnonzero(found.scores >= min_score)[::-1]:
        label = int(found.labels[row])
        text = f"{names[label]} {found.scores[row]:.2f}"
        draw_box(picture, found.boxes[row], text, colour(label), scale)
    return picture


def json_entry(frame: Frame, found: Detections, names: Sequence[str], rate: float) -> dict:
    """A frame's entry in the JSON list; with number and time if a video `rate` is given."""
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


def plan_targets(folder: Path, text: str, paths: Sequence[Path]) -> dict[Path, Path]:
    """Path of each annotated copy below `folder`, with the subfolders of the inputs.

    Args:
        text: the user's --input; if it is a folder, subfolders are relative to it.

    Raises:
        InputError: a copy would overwrite an input or another copy.
    """
    own = [path.absolute() for path in paths]
    base = Path(text).absolute()
    if not base.is_dir():
        base = Path(os.path.commonpath([path.parent for path in own]))
    targets: dict[Path, Path] = {}
    for path in paths:
        target = folder / path.absolute().relative_to(base)
        if is_video(path):
            target = with_suffix(target, ".mp4")
        elif not is_image(path):
            target = with_suffix(target, ".jpg")
        targets[path] = target
    inputs = {path.resolve() for path in paths}
    taken: dict[Path, Path] = {}
    for path, target in targets.items():
        if target.resolve() in inputs:
            raise InputError(f"{target}: is an input; set --output to another folder")
        if target in taken:
            raise InputError(f"{path} and {taken[target]}: both would become {target}")
        taken[target] = path
    return targets


def with_suffix(path: Path, suffix: str) -> Path:
    """The path with the suffix appended, unless it already has it."""
    return path if path.suffix.lower() == suffix else path.with_name(path.name + suffix)


def write_picture(targets: Mapping[Path, Path], frame: Frame, picture: np.ndarray) -> None:
    """Writes a frame's picture (H,W,3) RGB to its target."""
    target = targets[frame.path]
    done, data = cv2.imencode(target.suffix, picture[..., ::-1])
    if not done:  # more pixels than the format allows
        raise OSError(errno.EIO, "cannot be written as an image", str(target))
    write_atomically(target, data.tobytes())


class VideoFile:
    """An annotated video, written beside `target` and moved there at the end.

    An exception leaves no file.

    Args:
        rate: frames per second.
    """

    def __init__(self, target: Path, rate: float):
        self.target = target
        self.partial = target.with_name(f".{target.stem}.part{target.suffix}")
        self.rate = rate
        self.writer: cv2.VideoWriter | None = None

    def __enter__(self) -> "VideoFile":
        self.target.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, frame: Frame, picture: np.ndarray) -> None:
        """Adds the next frame."""
        if self.writer is None:
            height, width = picture.shape[:2]
            codec = cv2.VideoWriter_fourcc(*CODEC)
            self.writer = cv2.VideoWriter(str(self.partial), codec, self.rate, (width, height))
            if not self.writer.isOpened():
                raise OSError(errno.EIO, "cannot be written as a video", str(self.target))
        self.writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def __exit__(self, kind, error, traceback) -> None:
        if self.writer is None:
            return
        self.writer.release()
        try:
            if kind is None:
                with path_in_errors(self.target):
                    os.replace(self.partial, self.target)
        finally:
            self.partial.unlink(missing_ok=True)
