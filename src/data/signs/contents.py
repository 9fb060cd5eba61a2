"""Signs of pictures that are the same, in one split or in both; reads files of equal sizes."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress

import numpy as np

from src.data.annotations import Annotations
from src.data.decoding import Decoded
from src.data.signs.sign import Sign
from src.data.signs.split import boxes_differ, file_paths, first_groups, leaked, spelled
from src.runtime.special_files import refuse_special
from src.runtime.text import count, listed

SAME = 2  # levels of 256 by which thumbnails of one picture may differ; JPEG changes them by 1
CONTRAST = 8.0  # least standard deviation of a thumbnail; pictures of less look alike by chance


def equal_images(annotations: Annotations) -> Sign | None:
    """Several images of a split with the same content, in files of different names."""
    paths = file_paths(annotations)
    groups = [rows for rows in equal_files(paths) if len({paths[row] for row in rows}) > 1]
    if not groups:
        return None
    differing = sum(boxes_differ(annotations, rows) for rows in groups)
    boxes = f"; in {differing:,} of them with different boxes" if differing else ""
    return Sign(
        "equal_images",
        found=f"{count(len(groups), 'picture')} in several files "
        f"({listed([spelled(annotations, rows) for rows in groups])}){boxes}",
        cause="Copies, links, or frames of a video that stood still",
        advice="keep one of each; what is annotated in one copy alone is background in the others",
        groups=first_groups(annotations, groups),
    )


def leaked_images(
    training: Annotations, evaluation: Annotations, alike: Sequence[tuple[int, int]] = ()
) -> Sign | None:
    """Images to evaluate on with the content of one to train on, whatever their names.

    Args:
        alike: pairs (row of evaluation, row of training) of pictures that look the same.
    """
    paths = [*file_paths(training), *file_paths(evaluation)]
    shared = []
    for rows in equal_files(paths):
        trained = [row for row in rows if row < len(training)]
        if trained:
            image_id = int(training.image_ids[trained[0]])
            shared += [(row - len(training), image_id) for row in rows if row >= len(training)]
    found = {row: int(training.image_ids[trained]) for row, trained in alike} | dict(shared)
    return leaked(sorted(found.items()), training, evaluation)


def equal_files(paths: list[str]) -> list[list[int]]:
    """Groups of files (indices) with the same content, of one file under two paths too."""
    by_size = grouped(range(len(paths)), lambda row: os.path.getsize(paths[row]))
    return [rows for group in by_size for rows in grouped(group, lambda row: file_hash(paths[row]))]


def grouped(rows: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    """Rows with the same key, where there are several; without those whose file is unreadable."""
    found = defaultdict(list)
    for row in rows:
        with suppress(OSError, ValueError):
            found[key(row)].append(row)
    return [group for group in found.values() if len(group) > 1]


def file_hash(path: str) -> bytes:
    """A hash of the content."""
    refuse_special(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def similar_images(training: Decoded, evaluation: Decoded) -> list[tuple[int, int]]:
    """Pairs (row of evaluation, row of training) of images of one size that look the same."""
    means = [split.thumbnails.mean(axis=(1, 2)) for split in (training, evaluation)]
    clear = [split.thumbnails.std(axis=(1, 2)) >= CONTRAST for split in (training, evaluation)]
    order = np.flatnonzero(clear[0])
    order = order[np.argsort(means[0][order])]
    pairs = []
    for row in np.flatnonzero(clear[1]).tolist():
        limits = means[1][row] + np.array([-SAME, SAME])
        near = order[slice(*np.searchsorted(means[0][order], limits))]
        near = near[(training.sizes[near] == evaluation.sizes[row]).all(axis=1)]
        own = evaluation.thumbnails[row].astype(np.int16)
        same = np.abs(training.thumbnails[near] - own).max(axis=(1, 2), initial=0) <= SAME
        if same.any():
            pairs.append((row, int(near[same.argmax()])))
    return pairs
