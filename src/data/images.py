"""Reads image files of any kind as RGB uint8; errors name the file."""

import io
import os
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from src.data.files.file_kinds import HEAD as KIND_HEAD
from src.data.files.file_kinds import sniff
from src.data.files.strange_files import not_an_image
from src.runtime.errors import InputError
from src.runtime.out_of_memory import shortage
from src.runtime.special_files import refuse_special

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# Pillow's names of what OpenCV reads too
READ = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "JPEG2000", "PPM", "SUN")
OPENCV_SILENT = 0  # log level
UNKNOWN, EMPTY = "not an image that can be decoded", "is empty (0 bytes)"

PARTICULARS = re.compile(r"'.*'|\d[\d.]*(e[+-]\d+)?")  # of one file in the reason
# by EXIF orientation: axes are exchanged, rows are reversed, columns are reversed, in this order,
# which takes the upright picture back to the stored pixels
AS_STORED = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
QUARTER_TURNS = (5, 6, 7, 8)  # orientations that exchange width and height


class ImageError(InputError):
    """A file that cannot be used as an image, or not with its annotations.

    Args:
        message: with the file's path.
        reason: without; `cause` is what it has in common with those of other files.
    """

    def __init__(self, message: str, reason: str = ""):
        super().__init__(message)
        self.cause = PARTICULARS.sub("#", reason)


def unusable(path: Path, reason: str) -> ImageError:
    """The error of a file."""
    return ImageError(f"{path}: {reason}", reason)


def read_image(path: Path) -> np.ndarray:
    """The image's stored pixels (H,W,3) uint8 RGB; InputError where it is damaged or no image.

    Grey, CMYK, palette and 16-bit images are converted, transparency is dropped, EXIF rotation is
    ignored, as COCO's boxes expect.
    """
    try:
        refuse_special(path)
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise unusable(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null byte
        raise ImageError(f"{str(path)!r}: cannot be read: {error}") from error
    if len(data) == 0:
        raise unusable(path, EMPTY)
    cv2.setLogLevel(OPENCV_SILENT)  # what is wrong is in the error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, MemoryError) as error:  # more pixels than OpenCV allows, or the machine
        reason = shortage(error) or error.err
        raise unusable(path, f"cannot be decoded: {reason}") from error
    if image is None:
        reason = not_an_image(path) or deep_pixels(data) or f"{UNKNOWN}; damaged, or cut off?"
        raise unusable(path, reason)
    is_tiff = sniff(data[:KIND_HEAD].tobytes()).name == "TIFF"
    return as_stored(image, data) if is_tiff else image


def deep_pixels(data: np.ndarray) -> str:
    """Why an image of more than 16 bits a channel is not read; "" where it is none."""
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return ""
    if image is None or image.dtype in (np.uint8, np.uint16):
        return ""
    return (
        f"has {image.dtype} pixels, {image.min():g} to {image.max():g}, which are not read; scale "
        "all images by one factor to 0..255 or 0..65535 and save them with 8 or 16 bits"
    )


def greatest_deep_value(path: Path) -> int:
    """The greatest value in an image of 16 bits a channel; 0 for one of 8, and if unreadable."""
    try:
        refuse_special(path)
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error):
        return 0
    return int(image.max()) if image is not None and image.dtype == np.uint16 else 0


def as_stored(image: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The stored pixels of a TIFF from its upright picture, which is what OpenCV decodes."""
    Image.MAX_IMAGE_PIXELS = None  # only the header is read
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as header:
            turn = orientation(header)
    except (OSError, ValueError, SyntaxError):  # of a kind that Pillow does not know
        return image
    if turn not in AS_STORED:
        return image
    exchange, rows, columns = AS_STORED[turn]
    stored = image.transpose(1, 0, 2) if exchange else image
    stored = stored[::-1] if rows else stored
    return np.ascontiguousarray(stored[:, ::-1] if columns else stored)


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8, of an image of Pillow; 1, upright, where it has none."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises many kinds on damaged EXIF
        return 1
    return found if found in AS_STORED else 1


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in stored pixels from the image's header; InputError as `read_image`."""
    return read_header(path)[0]


def read_header(path: Path) -> tuple[tuple[int, int], int]:
    """`read_size` and EXIF's orientation, 1 to 8, of which 1 is upright."""
    Image.MAX_IMAGE_PIXELS = None  # only the header is read, so no image is too large
    try:
        refuse_special(path)
        with Image.open(path, formats=READ) as image:
            turn = orientation(image)
            # Pillow gives the size of a TIFF's upright picture
            turned = image.format == "TIFF" and turn in QUARTER_TURNS
            return image.size[::-1] if turned else image.size, turn
    except UnidentifiedImageError as error:
        what = not_an_image(path) or UNKNOWN
        raise unusable(path, what if os.path.getsize(path) else EMPTY) from error
    except OSError as error:
        raise unusable(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError) as error:  # Pillow's, on malformed or oversized chunks
        raise unusable(path, f"its header cannot be read: {error}") from error
