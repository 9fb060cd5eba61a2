"""Arrays of other projects' detectors, in the units and the order of this network."""

from collections.abc import Mapping, Sequence

import numpy as np

from src.detection.boxes import CENTRE_VARIANCE, SIZE_VARIANCE
from src.models.layers import NORM_EPSILON


def chosen_classes(array: np.ndarray, anchors: int, rows: Sequence[int]) -> np.ndarray:
    """A class predictor's weight or bias (B*K,...) with the chosen rows of each anchor."""
    of_anchors = array.reshape(anchors, -1, *array.shape[1:])  # (B,K,...)
    return of_anchors[:, list(rows)].reshape(-1, *array.shape[1:])


def scaled_deltas(array: np.ndarray) -> np.ndarray:
    """A box predictor's weight or bias (B*4,...) of plain deltas, for those in variances."""
    units = np.array([CENTRE_VARIANCE, CENTRE_VARIANCE, SIZE_VARIANCE, SIZE_VARIANCE])
    factors = np.tile(np.round(1 / units).astype(np.float32), len(array) // 4)  # (B*4,)
    return array * factors.reshape(-1, *[1] * (array.ndim - 1))


def by_size(array: np.ndarray, ratios: int, sizes: int) -> np.ndarray:
    """A predictor's rows, by ratio and size of their anchors, in the order of size and ratio."""
    rows = array.reshape(ratios, sizes, -1, *array.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(array.shape)


def with_epsilon(arrays: Mapping[str, np.ndarray], epsilon: float) -> dict[str, np.ndarray]:
    """The arrays with the backbone's norms as those with NORM_EPSILON that do the same.

    gamma / sqrt(variance + epsilon) stays equal.
    """
    changed = dict(arrays)
    for name, array in arrays.items():
        if name.startswith("backbone.") and name.endswith(".gamma"):
            variance = arrays[name.replace(".gamma", ".moving_variance")].astype(np.float64)
            # nan or infinite if the variance and epsilon are 0
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                factor = np.sqrt((variance + NORM_EPSILON) / (variance + epsilon))
                changed[name] = (array * factor).astype(np.float32)
    return changed
