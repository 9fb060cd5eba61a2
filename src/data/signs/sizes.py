"""Signs of objects that the network cannot see or learn, at the size of its input."""

import numpy as np

from src.data.signs.sign import Sign, first_boxes
from src.data.summary import Summary
from src.runtime.text import count

TINY = 2.0  # pixels of the input, a quarter of the finest level's stride
TINY_SHARE = 0.5  # share of the objects that is too many: the network learns little of such a set
NEARLY_ALL = 0.9
LEAST_OBJECTS = 4  # fewer may be unlike the anchors by chance


def size_sign(summary: Summary) -> Sign | None:
    """Most objects are tiny, or nearly all overlap no anchor well enough."""
    sides, unmatched = summary.sides, summary.unmatched[summary.known]
    if len(sides) == 0 or len(unmatched) == 0:
        return None
    tiny = sides < TINY
    if tiny.mean() >= TINY_SHARE:
        return Sign(
            "tiny",
            found=f"{int(tiny.sum()):,} of {count(len(tiny), 'object')} have a side below "
            f"{TINY:g} pixels of the network's input; the median is {np.median(sides):.2g}",
            cause="Probably boxes in other units, or images far larger than image_size",
            advice="check some on the page that src.data.validate writes; cut large images "
            "into tiles, or raise image_size",
            **pictures(summary, tiny),
        )
    if len(unmatched) < LEAST_OBJECTS or unmatched.mean() < NEARLY_ALL:
        return None
    return Sign(
        "unmatched",
        found=f"{int(unmatched.sum()):,} of {count(len(unmatched), 'object')} fit no anchor",
        cause=f"Their median side is {np.median(sides):.2g} pixels of the network's input, the "
        f"anchors' are {summary.anchor_sides[0]:.0f} to {summary.anchor_sides[-1]:.0f}",
        advice="set another anchor_size, more aspect_ratios or a larger image_size",
        **pictures(summary, summary.unmatched),
    )


def pictures(summary: Summary, which: np.ndarray) -> dict[str, tuple]:
    """The images of a Sign of the objects `which` (O,) bool, each with its first such object."""
    annotations = summary.annotations
    rows = np.flatnonzero(~annotations.crowd)[which]
    image_ids = annotations.image_ids[annotations.owners()[rows]]
    return first_boxes(image_ids, annotations.boxes[rows])
