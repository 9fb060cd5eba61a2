"""Reads image files of any kind as RGB uint8; errors name the file."""

import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from src.runtime.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_image(path: Path) -> np.ndarray:
    """The image's stored pixels (H,W,3) uint8 RGB; InputError where it is damaged or no image.

    Grey, CMYK, palette and 16-bit images are converted, transparency is dropped, EXIF rotation is
    ignored, as COCO's boxes expect.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) == 0:
        raise InputError(f"{path}: is empty (0 bytes)")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # more pixels than OpenCV allows
        raise InputError(f"{path}: cannot be decoded: {error.err}") from error
    if image is None:
        raise InputError(f"{path}: not an image that can be decoded; damaged, or cut off?")
    return image


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in stored pixels from the image's header; InputError as `read_image`."""
    Image.MAX_IMAGE_PIXELS = None  # only the header is read, so no image is too large
    try:
        with Image.open(path) as image:
            return image.size
    except UnidentifiedImageError as error:
        what = "not an image that can be decoded" if os.path.getsize(path) else "is empty (0 bytes)"
        raise InputError(f"{path}: {what}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError) as error:  # Pillow's, on malformed or oversized chunks
        raise InputError(f"{path}: its header cannot be read: {error}") from error


class Folder:
    """Looks up files below a folder; lists each directory once, which beats a stat for each."""

    def __init__(self, path: Path):
        self.path = path
        self.listings: dict[str, set[str]] = {}

    def holds(self, name: str) -> bool:
        """Whether there is a file `name`, relative to the folder."""
        parent, base = os.path.split(os.path.join(self.path, name))
        return base in self.listing(parent)

    def listing(self, parent: str) -> set[str]:
        """Names in a directory; none where it cannot be listed."""
        if parent not in self.listings:
            self.listings[parent] = set()
            with suppress(OSError):
                self.listings[parent].update(os.listdir(parent))
        return self.listings[parent]
