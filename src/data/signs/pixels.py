"""Signs of pixels that use a sliver of their range, such as 12 bits in files of 16, or nothing."""

import numpy as np

from src.data.annotations import Annotations
from src.data.images import greatest_deep_value
from src.data.signs.sign import Sign, first_ids
from src.runtime.text import count, listed

SLIVER = 32  # of 256 levels: the network hardly tells less from one colour
MOSTLY = 0.5  # of the images; a dark one here and there is sound
UNREAD = -1  # levels of an image that was not decoded
DEEP_BITS = 16
GAP = 4  # two bits between images of few bits and the others; dark ones are of all kinds
MAX_DECODED = 10  # images whose bits are looked at
PART, LEAST_PART = 0.1, 3  # of the images, for deep ones among others
FLAT = 1  # levels between the darkest and the brightest pixel of a picture of one colour
MANY_FLAT = 0.01  # of the images with objects, for an error
SHALLOW_TEXT = (
    "Dark pictures, ones of low contrast, or masks in place of the images",
    "look at them; where all are dark, scale all by one factor to the whole range of 8 bits",
)


def pixel_range(annotations: Annotations, levels: np.ndarray) -> Sign | None:
    """Most images use less than SLIVER levels.

    Args:
        levels: (I,2) least and greatest value of the 8-bit pixels of each image, or UNREAD.
    """
    read = levels[:, 0] != UNREAD
    spread = levels[:, 1] - levels[:, 0]
    narrow = read & (spread < SLIVER)
    is_most = narrow.sum() >= MOSTLY * read.sum()
    if not is_most:  # a part of 8 bits may be dark; black ones say nothing of bits
        narrow &= spread > 0
    if not narrow.any() or narrow.sum() < (MOSTLY if is_most else PART) * read.sum():
        return None
    rows = np.flatnonzero(narrow)
    examples = [
        f"{annotations.file_name(row)}: {levels[row, 0]} to {levels[row, 1]}" for row in rows[:3]
    ]
    deepest = max(greatest_deep_value(annotations[row].path) for row in rows[:MAX_DECODED].tolist())
    is_part = deepest and len(rows) >= LEAST_PART
    if not is_most and not (is_part and is_apart(levels[read, 1], narrow[read])):
        return None
    cause, advice = deep_text(deepest) if deepest else SHALLOW_TEXT
    return Sign(
        "pixel_range",
        found=f"{len(rows):,} of {count(int(read.sum()), 'image')} use less than {SLIVER} of "
        f"256 levels as the network sees them ({listed(examples)})",
        cause=cause,
        advice=advice,
        certain=is_most and deepest > 0,
        image_ids=first_ids(annotations.image_ids[rows]),
    )


def is_apart(greatest: np.ndarray, narrow: np.ndarray) -> bool:
    """Whether the greatest values (N,) of narrow images (N,) bool are far below the others'."""
    return bool(greatest[~narrow].min() >= GAP * (greatest[narrow].max() + 1))


def flat_images(annotations: Annotations, levels: np.ndarray) -> Sign | None:
    """Pictures of one colour with objects; `levels` (I,2) as of `pixel_range`."""
    has_objects = annotations.object_counts() > 0
    read = has_objects & (levels[:, 0] != UNREAD)
    rows = np.flatnonzero(read & (levels[:, 1] - levels[:, 0] <= FLAT))
    rows = np.array([r for r in rows if not greatest_deep_value(annotations[int(r)].path)], int)
    if len(rows) == 0:
        return None
    return Sign(
        "flat_images",
        found=f"{len(rows):,} of {count(int(read.sum()), 'image')} with objects are of one "
        f"colour ({annotations.listed(rows)})",
        cause="Probably placeholders of images that were not there, or files that were cut",
        advice="put the images in their place, or take them out",
        certain=len(rows) > MANY_FLAT * read.sum(),
        image_ids=first_ids(annotations.image_ids[rows]),
    )


def deep_text(greatest: int) -> tuple[str, str]:
    """Cause and advice for files of 16 bits a channel, whose values are at most `greatest`."""
    bits = greatest.bit_length()
    return (
        f"The files have {DEEP_BITS} bits a channel, of which the upper 8 are used, and their "
        f"values are at most {greatest:,}, so they probably fill {bits} bits",
        f"scale all images by one factor to the whole range of {DEEP_BITS} bits, for {bits} bits "
        f"'mogrify -evaluate multiply {2 ** (DEEP_BITS - bits)} *.png'",
    )
