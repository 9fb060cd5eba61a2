"""Boxes of COCO's objects that contradict the outlines in the same file."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from src.data.readers.coco_entries import box_around, is_id
from src.data.signs.overlaps import paired_iou
from src.data.signs.sign import Sign, first_boxes
from src.runtime.errors import InputError
from src.runtime.text import count

SAMPLE = 2000  # outlines that are looked at
LEAST = 10  # of them, for a sign
PIXELS, SHARE = 2.0, 0.1  # by which a side may differ: rounded, or drawn by hand
NEARLY_ALL = 0.8  # of them, that are moved or scaled alike
MOST = 0.5  # of the outlines, for a sign
# overlap (IoU) of box and outline: the median of boxes that contradict, and of boxes around what is
# hidden too, of which an outline shows the rest
OVERLAP, HIDDEN_OVERLAP = 0.8, 0.4


class Entry(msgspec.Struct, gc=False):
    """An entry of "annotations", its outline not yet parsed."""

    id: Any = None
    image_id: Any = None
    bbox: Any = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class Entries(msgspec.Struct):
    """What is read of the file."""

    annotations: list[Entry]


def outline_sign(path: Path) -> Sign | None:
    """Boxes that are elsewhere than the outlines of their objects, in a sample of the file."""
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=Entries).annotations
    except (OSError, ValueError, msgspec.DecodeError):  # of which its reader tells
        return None
    entries = [entry for entry in entries if len(entry.segmentation) > len("null")]
    wanted = min(SAMPLE, len(entries))
    rows = np.arange(wanted) * len(entries) // max(wanted, 1)
    pairs = [(entries[row], found) for row in rows if (found := corners_of(entries[row]))]
    if len(pairs) < LEAST:
        return None
    corners = np.array([found for _, found in pairs])  # (N,2,4) of boxes and outlines
    return contradiction([entry for entry, _ in pairs], corners[:, 0], corners[:, 1])


def corners_of(entry: Entry) -> tuple[list[float], list[float]] | None:
    """Corners x1, y1, x2, y2 of the box and of its outline; None where one is missing or bad."""
    try:
        outline = msgspec.json.decode(entry.segmentation)
        if not outline or type(entry.bbox) is not list or not is_id(entry.image_id):
            return None
        both = [list(map(float, sides)) for sides in (entry.bbox, box_around(outline))]
    except (InputError, LookupError, TypeError, ValueError, msgspec.DecodeError):
        return None
    if any(len(sides) != 4 for sides in both):
        return None
    corners = [[x, y, x + width, y + height] for x, y, width, height in both]
    limits = outline["size"][::-1] if isinstance(outline, dict) else (np.inf, np.inf)
    x1, y1, x2, y2 = corners[1]
    if not (x1 < x2 <= limits[0] and y1 < y2 <= limits[1]):  # a run-length code of nothing
        return None
    return tuple(corners)


def contradiction(entries: list[Entry], boxes: np.ndarray, outlines: np.ndarray) -> Sign | None:
    """The sign of entries whose boxes (N,4) mostly do not bound their outlines (N,4)."""
    sides = outlines[:, 2:] - outlines[:, :2]
    slack = np.maximum(PIXELS, SHARE * np.tile(sides, 2))
    beyond = boxes - outlines  # (N,4)
    apart = (np.abs(beyond) > slack).any(axis=1)
    if apart.mean() < MOST or apart.sum() < LEAST:
        return None
    around = (beyond[:, :2] <= slack[:, :2]).all(axis=1) & (beyond[:, 2:] >= -slack[:, 2:]).all(1)
    overlaps = paired_iou(boxes, outlines)
    limit = HIDDEN_OVERLAP if around[apart].mean() >= MOST else OVERLAP
    if np.median(overlaps[apart]) >= limit:
        return None
    ids = np.array([entry.image_id for entry in entries])
    first = int(apart.argmax())
    numbers = [", ".join(f"{value:.6g}" for value in rows[first]) for rows in (boxes, outlines)]
    return Sign(
        "outlines",
        found=f"{int(apart.sum()):,} of {count(len(boxes), 'box', 'boxes')} looked at do not "
        f"bound the outline of their object (annotation {entries[first].id}: corners "
        f"{numbers[0]}, of the segmentation {numbers[1]})",
        cause=f"bbox and segmentation contradict each other{steady(boxes, outlines)}; one of "
        "them is in other units, of a resized image or moved",
        advice="compare them on the page that src.data.validate writes; bbox is x, y, width "
        "and height in pixels, and without bbox the box around the segmentation is taken",
        **first_boxes(ids[apart], boxes[apart]),
    )


def steady(boxes: np.ndarray, outlines: np.ndarray) -> str:
    """What is said where all boxes (N,4) are moved or scaled alike against outlines (N,4)."""
    factors = (boxes[:, 2:] - boxes[:, :2]) / np.maximum(outlines[:, 2:] - outlines[:, :2], 1)
    factor = np.median(factors)
    is_steady = (np.abs(factors - factor) <= SHARE * factor).all(axis=1).mean() >= NEARLY_ALL
    if is_steady and abs(factor - 1) >= SHARE:
        return f", boxes being {factor:.3g} times as large"
    moves = (boxes - outlines)[:, :2]
    x, y = np.median(moves, axis=0)
    is_steady = (np.abs(moves - [x, y]) <= PIXELS).all(axis=1).mean() >= NEARLY_ALL
    return f", boxes being moved by {x:+.4g} and {y:+.4g} pixels in x and y" if is_steady else ""
