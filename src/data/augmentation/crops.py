"""Random crops that keep an object in view, as in SSD."""

from collections.abc import Sequence

import numpy as np

from src.data.transforms import Sample, crop
from src.detection.boxes import iou

MIN_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # SSD paper; 0 any crop, 1 the whole image
CROP_TRIALS = 50
CROP_ASPECT_RATIOS = (0.5, 2.0)


def min_iou_crop(
    sample: Sample, rng: np.random.Generator, scales: Sequence[float] = (0.3, 1.0)
) -> Sample:
    """A random crop that overlaps at least one object by a randomly drawn IoU, or the whole image.

    It keeps a share of each side from the range `scales`.

    Objects whose centre is outside are dropped, the others clipped. Source: SSD (Liu et al., 2016,
    section 2.2); as in the authors' code one object of the drawn IoU is enough, and a new IoU is
    drawn after CROP_TRIALS crops that do not reach it. Images without objects are not cropped.
    """
    objects = sample.boxes[~sample.crowd]
    if len(objects) == 0:
        return sample
    height, width = sample.image.shape[:2]
    while True:
        min_overlap = MIN_OVERLAPS[rng.integers(len(MIN_OVERLAPS))]
        if min_overlap == 1.0:
            return sample
        windows = draw_windows(rng, width, height, scales)
        good = np.flatnonzero(best_overlaps(windows, objects) >= min_overlap)
        if len(good):
            return crop(sample, windows[good[0]])


def draw_windows(
    rng: np.random.Generator, width: int, height: int, scales: Sequence[float]
) -> np.ndarray:
    """Up to CROP_TRIALS random windows (T,4) float32 on whole pixels, of allowed aspect ratios."""
    sides = np.floor(rng.uniform(*scales, (CROP_TRIALS, 2)) * [width, height])
    starts = np.floor(rng.random((CROP_TRIALS, 2)) * ([width, height] - sides + 1))
    sides, starts = (v[(sides >= 1).all(axis=1)] for v in (sides, starts))
    ratios = sides[:, 0] / sides[:, 1]
    allowed = (ratios >= CROP_ASPECT_RATIOS[0]) & (ratios <= CROP_ASPECT_RATIOS[1])
    return np.concatenate([starts, starts + sides], axis=1)[allowed].astype(np.float32)  # (T,4)


def best_overlaps(windows: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """(T,) best IoU of each window (T,4) with an object (G,4) whose centre is in it; -1 if none."""
    centres = (objects[:, :2] + objects[:, 2:]) / 2
    inside = (centres > windows[:, None, :2]) & (centres < windows[:, None, 2:])  # (T,G,2)
    return np.where(inside.all(axis=2), iou(windows, objects), -1).max(axis=1)
