"""Signs of pixels that use a sliver of their range, such as 12 bits in files of 16."""

import numpy as np
from PIL import Image

from src.data.annotations import Annotations
from src.data.signs.sign import Sign, first_ids, listed
from src.runtime.text import count

SLIVER = 32  # of 256 levels: the network hardly tells less from one colour
MOSTLY = 0.5  # of the images; a dark one here and there is sound
UNREAD = -1  # levels of an image that was not decoded
DEEP_MODES = ("I", "F")  # first letter of Pillow's modes of more than 8 bits


def pixel_range(annotations: Annotations, levels: np.ndarray) -> tuple[Sign, ...]:
    """Most images use less than SLIVER levels.

    Args:
        levels: (I,2) least and greatest value of the 8-bit pixels of each image, or UNREAD.
    """
    read = levels[:, 0] != UNREAD
    narrow = read & (levels[:, 1] - levels[:, 0] < SLIVER)
    if not narrow.any() or narrow.sum() < MOSTLY * read.sum():
        return ()
    rows = np.flatnonzero(narrow)
    examples = [
        f"{annotations.file_name(row)}: {levels[row, 0]} to {levels[row, 1]}" for row in rows[:3]
    ]
    deep = sum(is_deep(annotations, row) for row in rows[:10].tolist())
    cause, advice = (
        (
            "The files have 16 bits a channel, of which the upper 8 are used, and their values "
            "probably fill fewer bits, as 12-bit sensors' do",
            "scale all images by one factor to the whole range of 16 bits, for 12 bits "
            "`mogrify -evaluate multiply 16 *.png`",
        )
        if deep
        else (
            "Probably masks, or pictures without contrast, are in place of the images",
            "look at them, and scale all by one factor to the whole range of 8 bits",
        )
    )
    return (
        Sign(
            "pixel_range",
            found=f"{len(rows):,} of {count(int(read.sum()), 'image')} use less than {SLIVER} of "
            f"256 levels as the network sees them ({listed(examples)})",
            cause=cause,
            advice=advice,
            certain=deep > 0,
            image_ids=first_ids(annotations.image_ids[rows]),
        ),
    )


def is_deep(annotations: Annotations, row: int) -> bool:
    """Whether the image's file has more than 8 bits a channel."""
    Image.MAX_IMAGE_PIXELS = None  # only the header is read
    try:
        with Image.open(annotations[row].path) as image:
            return image.mode.startswith(DEEP_MODES)
    except (OSError, ValueError, SyntaxError):
        return False
