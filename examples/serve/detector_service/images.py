"""Bytes of a request to pixels: the header first, and the whole image only within the limits."""

import io
import warnings

import cv2
import numpy as np
from PIL import Image

from detector_service.refusals import Refusal

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is a setting's
cv2.setLogLevel(0)  # what is wrong is in the answer


def read_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height by the image's header; nothing is decoded.

    Raises:
        Refusal: 415 where it is no image of FORMATS, 422 where it has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            width, height = header.size
    except Image.DecompressionBombError:
        raise Refusal(422, f"more than the limit of {max_pixels:,} pixels") from None
    except Exception as error:  # Pillow's readers raise of all kinds on damaged headers
        raise Refusal(415, "not a JPEG, PNG, WebP or BMP image") from error
    if width * height > max_pixels:
        size = f"{width} x {height} = {width * height:,} pixels"
        raise Refusal(422, f"{size}; the limit is {max_pixels:,}")
    return width, height


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """The image's stored pixels (H,W,3) uint8 BGR, EXIF rotation ignored, as in training.

    Raises:
        Refusal: as of `read_size`, and 422 where the image is damaged.
    """
    width, height = read_size(data, max_pixels)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # OpenCV reads another size in the header, over the limit of `__main__`
        picture = None
    if picture is None or picture.shape[:2] != (height, width):
        raise Refusal(422, f"an image of {width} x {height} that cannot be decoded; damaged?")
    return picture
