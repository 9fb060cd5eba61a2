"""Signs of pixels that use a sliver of their range, such as 12 bits in files of 16."""

import numpy as np

from src.data.annotations import Annotations
from src.data.images import greatest_deep_value
from src.data.signs.sign import Sign, first_ids
from src.runtime.text import count, listed

SLIVER = 32  # of 256 levels; with fewer the network hardly sees more than one colour
MOSTLY = 0.5  # share of the images, for a sign; some dark ones are sound
UNREAD = -1  # levels of an image that was not decoded
DEEP_BITS = 16
MAX_DECODED = 10  # images whose depth is looked at
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
    narrow = read & (levels[:, 1] - levels[:, 0] < SLIVER)
    if not narrow.any() or narrow.sum() < MOSTLY * read.sum():
        return None
    rows = np.flatnonzero(narrow)
    examples = [
        f"{annotations.file_name(row)}: {levels[row, 0]} to {levels[row, 1]}" for row in rows[:3]
    ]
    deepest = max(greatest_deep_value(annotations[row].path) for row in rows[:MAX_DECODED].tolist())
    cause, advice = deep_text(deepest) if deepest else SHALLOW_TEXT
    return Sign(
        "pixel_range",
        found=f"{len(rows):,} of {count(int(read.sum()), 'image')} use less than {SLIVER} of "
        f"256 levels as the network sees them ({listed(examples)})",
        cause=cause,
        advice=advice,
        certain=deepest > 0,
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
