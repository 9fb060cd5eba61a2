"""Resizing as in torchvision and mmdetection: to a short side, on one of two canvases."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from src.data.transforms import FILL
from src.runtime.errors import InputError

Size = tuple[int, int]  # height and width


@dataclass(frozen=True, kw_only=True)
class ShortSide:
    """Scales images to a short side, with at most a long side, and pads them right and below.

    Attributes:
        short, long: pixels.
        canvases: (height, width) of inputs. An image goes on the one where it is largest, of equal
            ones on the first.
        step: if not 0, on the smallest part of the canvas that it fits on, whose sides are
            multiples of this.
        fill: RGB of the padding, which the network normalises to 0.
        exact: whether pixels are float32, as in torchvision; else uint8, as exported files take.
    """

    short: int
    long: int
    canvases: tuple[Size, ...]
    step: int = 0
    fill: tuple[float, ...]
    exact: bool = True

    @property
    def dtype(self) -> type:
        """Type of the pixels."""
        return np.float32 if self.exact else np.uint8

    def canvas(self, width: int, height: int) -> Size:
        """The canvas for an image."""
        canvas = max(self.canvases, key=lambda canvas: self.factor(width, height, canvas))
        if not self.step:
            return canvas
        sides = self.sides(width, height, canvas)[::-1]
        least = [math.ceil(side / self.step) * self.step for side in sides]
        return min(least[0], canvas[0]), min(least[1], canvas[1])

    def factor(self, width: int, height: int, canvas: Size) -> float:
        """Pixels on the canvas per pixel of an image."""
        fitting = min(self.short / min(width, height), self.long / max(width, height))
        return min(fitting, canvas[0] / height, canvas[1] / width)

    def sides(self, width: int, height: int, canvas: Size) -> tuple[int, int]:
        """Width and height of an image on the canvas, rounded down as in torchvision."""
        factor = self.factor(width, height, canvas)
        return max(math.floor(width * factor), 1), max(math.floor(height * factor), 1)

    def fit(self, image: np.ndarray, canvas: Size) -> tuple[np.ndarray, np.ndarray]:
        """The image (H,W,3) on the canvas, and the factors in x and y, (2,); see `fit_image`.

        It is bilinear without antialiasing, as in torchvision, from whose float pixels OpenCV's
        differ by up to 0.004 of 255.
        """
        height, width = image.shape[:2]
        sides = self.sides(width, height, canvas)
        fitted = cv2.resize(image.astype(self.dtype), sides, interpolation=cv2.INTER_LINEAR)
        placed = np.empty((*canvas, 3), self.dtype)
        placed[:] = self.fill if self.exact else np.rint(self.fill)
        placed[: sides[1], : sides[0]] = fitted
        return placed, np.array([sides[0] / width, sides[1] / height], np.float32)


def build_short_side(cfg, fill: Sequence[float] | None = None) -> ShortSide | None:
    """The configured resizing to a short side, if it is that.

    Args:
        fill: the mean pixel of the network, which takes float pixels on a canvas of `image_size`,
            and on one turned by 90 degrees; None for an exported file, which takes uint8 ones of
            `image_size` alone.
    """
    if cfg.resize != "short_side":
        return None
    canvas, sides = tuple(cfg.image_size), {"short": cfg.short_side, "long": cfg.long_side}
    if fill is None:
        return ShortSide(canvases=(canvas,), fill=FILL, exact=False, **sides)
    canvases = tuple(dict.fromkeys([canvas, canvas[::-1]]))
    return ShortSide(canvases=canvases, step=cfg.canvas_step, fill=tuple(map(float, fill)), **sides)


def check_training_resize(cfg) -> None:
    """InputError for a resizing that is for detection alone."""
    if cfg.resize == "short_side":
        raise InputError(
            "resize is short_side, which is for detection alone; train with --resize=letterbox, "
            "whatever the detector was trained with that finetune names"
        )
