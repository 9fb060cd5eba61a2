"""Boxes of an image as tools have them, and the corners of boxes around shapes, in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2
Box = tuple[str, Corners]  # with its class


@dataclass(frozen=True)
class LabelledImage:
    """An image with its boxes."""

    name: str
    size: tuple[int, int] | None  # width and height in pixels, where the tool has them
    boxes: Sequence[Box]

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"image size {self.size}; expected at least 1 x 1")


def labelled(name: Any, corners: Corners) -> Box:
    """A box with its class; ValueError where a name is none, or corners are in another order."""
    x1, y1, x2, y2 = corners
    if x1 > x2 or y1 > y2:
        raise ValueError(f"box {list(corners)}; expected the upper left corner first")
    return class_name(name), corners


def class_name(name: Any) -> str:
    """The name of a class; ValueError where it is none."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"class {name!r}; expected a name")
    return name.strip()


def around_points(points: Sequence[Sequence[float]]) -> Corners:
    """Around points (x, y)."""
    xs, ys = zip(*points)
    return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))


def around_circle(centre: Sequence[float], edge: Sequence[float]) -> Corners:
    """Around a circle by its centre and a point on it."""
    radius = math.dist(centre, edge)
    return around_ellipse(centre, radius, radius, 0)


def around_ellipse(centre: Sequence[float], rx: float, ry: float, angle: float) -> Corners:
    """Around an ellipse of the given half axes, turned by `angle` radians about its centre."""
    x, y = centre
    half_width = math.hypot(rx * math.cos(angle), ry * math.sin(angle))
    half_height = math.hypot(rx * math.sin(angle), ry * math.cos(angle))
    return x - half_width, y - half_height, x + half_width, y + half_height


def around_turned(box: Corners, angle: float) -> Corners:
    """Around a box that is turned by `angle` radians about its centre."""
    if not angle:
        return box
    x1, y1, x2, y2 = box
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    width = (x2 - x1) * cos + (y2 - y1) * sin
    height = (x2 - x1) * sin + (y2 - y1) * cos
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
