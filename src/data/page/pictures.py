"""Pictures of images as they are in their files, and of what is wrong with them."""

import os
from collections.abc import Sequence

import numpy as np

from src.data.annotations import Record, other_size
from src.data.drawing import colour
from src.data.images import read_image
from src.data.page.album import Album, Picture
from src.data.page.shapes import Shape, rectangle
from src.runtime.errors import InputError

MAX_BOXES = 100  # drawn in a picture
WRONG = (215, 0, 0)  # colour of a box that is wrong
AROUND = 0.5  # of the image's sides, the most that is shown around it
LEAST_SHOWN = 0.02  # of what is shown, sides of a wrong box at its edge or without area
UNSEEN_SIDE = 10.0  # pixels of the page; a box of less is shown enlarged too
ENLARGED = 6.0  # sides of a box that its enlarged picture has
LEAST_ENLARGED = 16.0  # pixels of the image that it has at least
MOST_ENLARGED = 12.0  # pixels of the page for one of the image


def in_file(album: Album, record: Record, names: tuple[str, ...]) -> Picture | None:
    """The image as it is in its file with its boxes; None where it cannot be shown."""
    try:
        pixels = record.read()
    except InputError:  # reported elsewhere
        return None
    return album.picture(record.path.name, pixels, object_shapes(record, names))


def as_evidence(
    album: Album,
    record: Record,
    names: tuple[str, ...],
    caption: str = "",
    box: Sequence[float] | None = None,
) -> list[Picture | None]:
    """The image with its boxes and one that is wrong, and that enlarged where it is tiny.

    What is around the image is shown where the wrong box reaches there. An image that cannot be
    read is grey, with the reason in its caption.
    """
    pixels, why = None, ""
    width, height = record.width, record.height
    try:
        pixels = read_image(record.path)
        height, width = pixels.shape[:2]
        if (width, height) != (record.width, record.height):
            why = other_size(record, (width, height), ask=False)
    except InputError as error:
        why = str(error).removeprefix(f"{record.path}: ")
        if not os.path.exists(record.path):  # unlike Path.exists, never raises
            why = "no such file"
    if why and why not in caption:
        caption = f"{caption}: {why}" if caption else why
    shapes = object_shapes(record, names)
    view = (0.0, 0.0, float(width), float(height))
    if box is not None and not is_among(box, record.boxes):
        view = around(view, box)
        shapes = [given_shape(box, view), *shapes]
    name, placed = record.path.name, (0, 0, width, height)
    found = [album.picture(name, pixels, shapes, caption, placed=placed, view=view)]
    if pixels is not None and found[0] is not None:
        scale = found[0].width / view[2]
        if tiny := first_tiny(record.boxes if box is None else np.array([box]), scale):
            found.append(enlarged(album, record, pixels, shapes, tiny))
    return found


def is_among(box: Sequence[float], boxes: np.ndarray) -> bool:
    """Whether a box is one of boxes (B,4), which are rounded to float32."""
    return bool(np.isclose(boxes, np.asarray(box), atol=0.01).all(axis=1).any())


def first_tiny(boxes: np.ndarray, scale: float) -> tuple[float, ...]:
    """The first of boxes (B,4), if all are too small to be seen at a scale; else ()."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) * scale
    return tuple(boxes[0].tolist()) if len(boxes) and (sides < UNSEEN_SIDE).all() else ()


def around(view: tuple[float, ...], box: Sequence[float]) -> tuple[float, float, float, float]:
    """What is shown of an image so that a box is seen: x, y, width, height; AROUND it at most."""
    sides = np.array(view[2:])
    numbers = np.clip(np.array(box, float).reshape(2, 2), -AROUND * sides, (1 + AROUND) * sides)
    low, high = np.minimum(numbers.min(axis=0), 0), np.maximum(numbers.max(axis=0), sides)
    return (*low.tolist(), *(high - low).tolist())


def given_shape(box: Sequence[float], view: tuple[float, ...]) -> Shape:
    """The shape of a box that is wrong, as far as it is in view."""
    corners, first = np.reshape(box, (2, 2)), np.array(view[:2])
    last = first + view[2:]
    low, high = corners.min(axis=0), corners.max(axis=0)
    name = "in the file" if (high > first).all() and (low < last).all() else "further out"
    least = LEAST_SHOWN * np.array(view[2:])
    low, high = np.clip(low, first, last - least), np.clip(high, first + least, last)
    numbers = ", ".join(f"{value:.6g}" for value in box)
    text = f"in the file: corners {numbers}"
    return rectangle((*low, *high), WRONG, text, "given", name)


def enlarged(
    album: Album,
    record: Record,
    pixels: np.ndarray,
    shapes: Sequence[Shape],
    box: Sequence[float],
) -> Picture | None:
    """The surroundings of a box, enlarged; None where it is outside of the image."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box
    side = max(ENLARGED * max(x2 - x1, y2 - y1), LEAST_ENLARGED)
    low = np.array([x1 + x2 - side, y1 + y2 - side]) / 2
    left, top = np.clip(low, 0, [width - 1, height - 1]).astype(int).tolist()
    right, bottom = (int(v) for v in np.clip(np.ceil(low + side), 1, [width, height]))
    if right <= left or bottom <= top:
        return None
    placed = (left, top, right - left, bottom - top)
    near = [s for s in shapes if s.x < right and s.y < bottom and s.box[2] > left]
    near = [s for s in near if s.box[3] > top]
    part = pixels[top:bottom, left:right]
    name = f"{record.path.name}, enlarged"
    return album.picture(name, part, near, "enlarged", placed=placed, largest=MOST_ENLARGED)


def object_shapes(record: Record, names: tuple[str, ...]) -> list[Shape]:
    """The image's boxes in the colours of their classes."""
    shapes = [
        object_shape(box, colour(int(label)), names[label], crowd=crowd)
        for box, label, crowd in zip(record.boxes, record.labels, record.crowd)
    ]
    return shapes[:MAX_BOXES]


def object_shape(
    box: np.ndarray,
    rgb: tuple[int, int, int],
    name: str,
    *,
    crowd: bool = False,
    more: str = "",
    kind: str = "object",
) -> Shape:
    """The shape of an object's box."""
    text = f"{name} (ignored)" if crowd else name
    kind = "ignored" if crowd else kind
    return rectangle(box, rgb, f"{text}: {more}" if more else text, kind, name)
