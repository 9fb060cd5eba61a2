"""Decodes every image of a split, and keeps what the checks of a data set ask of its pixels."""

from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

import cv2
import numpy as np
from tqdm import tqdm

from src.data.annotations import Annotations, other_size
from src.data.files.image_files import SEARCH, Search, find_images
from src.data.images import ImageError, read_image, unusable
from src.data.problems import Problems
from src.data.signs.pixels import UNREAD

THUMBNAIL = 16  # pixels of a side


@dataclass(frozen=True)
class Decoded:
    """What was seen of I images."""

    levels: np.ndarray  # (I,2) least and greatest value of the pixels, or UNREAD
    sizes: np.ndarray  # (I,2) width and height, or 0
    thumbnails: np.ndarray  # (I,THUMBNAIL,THUMBNAIL) uint8, grey


def check_images(
    annotations: Annotations, problems: Problems, search: Search = SEARCH, *, workers: int
) -> tuple[Annotations, Decoded]:
    """Decodes every image; an error for each that is missing or damaged.

    Decoding runs in parallel in threads, so processes would be no faster. The annotations come
    back with the images' names on disk.
    """

    def look(index: int) -> tuple | ImageError:
        try:
            image = read_image(annotations[index].path)
        except ImageError as error:
            return error
        return (int(image.min()), int(image.max())), image.shape[1::-1], thumbnail(image)

    annotations, missing = find_images(annotations, problems, search)
    levels = np.full((len(annotations), 2), UNREAD)
    sizes = np.zeros_like(levels)
    thumbnails = np.zeros((len(annotations), THUMBNAIL, THUMBNAIL), np.uint8)
    there = [index for index in range(len(annotations)) if index not in missing]
    with ThreadPool(max(workers, 1)) as pool:
        results = pool.imap(look, there, chunksize=8)
        bar = tqdm(results, total=len(there), desc="images", unit="", disable=None)
        for index, found in zip(there, bar):
            if isinstance(found, tuple):
                levels[index], sizes[index], thumbnails[index] = found
            else:
                image_id = int(annotations.image_ids[index])
                where = annotations.where(index)
                problems.error(where, str(found), found.cause, image_id=image_id)
    return annotations, Decoded(levels, sizes, thumbnails)


def check_sizes(
    annotations: Annotations, problems: Problems, sizes: np.ndarray, *, turned: bool
) -> None:
    """Adds an error for each image whose size is not the annotated one.

    Args:
        sizes: (I,2) width and height of the pixels; 0 where an image was not decoded.
        turned: whether an error says already that annotations are of turned pictures.
    """
    wrong = (sizes != annotations.sizes).any(axis=1) & (sizes > 0).all(axis=1)
    if turned:
        wrong &= (sizes[:, ::-1] != annotations.sizes).any(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        record = annotations[row]
        error = unusable(record.path, other_size(record, sizes[row]))
        where = annotations.where(row)
        problems.error(where, str(error), error.cause, image_id=record.image_id)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A small grey picture (THUMBNAIL,THUMBNAIL) of an image (H,W,3)."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
