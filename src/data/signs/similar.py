"""Pictures of two splits that look the same, as where one was saved anew."""

import numpy as np

from src.data.decoding import Decoded

SAME = 2  # levels of 256 by which pixels of thumbnails may differ; JPEG changes them by 1
CONTRAST = 8.0  # standard deviation of a thumbnail's pixels; those of less are alike by chance


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
