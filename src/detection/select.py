"""The best of a network's many predictions."""

from collections.abc import Sequence

import numpy as np

from src.runtime.errors import NotFinite


def best_predictions(
    values: np.ndarray, least: float, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchor (P,), label (P,) and value (P,) of the largest of `values` (A,K), largest first.

    Equal values come in the order of anchor and label. Only rows whose maximum is among the
    `limit` largest can hold one of the largest values, so few rows are searched in full.

    Args:
        values: logits or scores.
        least: only larger values count.
        limit: P is at most this; 0 takes all.

    Raises:
        NotFinite: a value is nan.
    """
    best = values.max(axis=1)  # (A,); nan where any of the row is
    if np.isnan(best).any():
        raise NotFinite("nan among the scores")
    rows = np.flatnonzero(best > least)
    rows = rows[largest(best[rows], limit)]
    chosen = values[rows].ravel()
    above = np.flatnonzero(chosen > least)
    above = above[largest(chosen[above], limit)]
    above = above[np.argsort(-chosen[above], kind="stable")]
    row, label = np.divmod(above, values.shape[1])
    return rows[row], label, chosen[above]


def best_of_levels(
    values: np.ndarray, least: float, limit: int, levels: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`best_predictions` with at most `limit` of each level, in one order.

    Args:
        levels: anchors of each level, in order; their sum is A.
    """
    found, first = [], 0
    for count in levels:
        rows, labels, best = best_predictions(values[first : first + count], least, limit)
        found.append((first + rows, labels, best))
        first += count
    rows, labels, best = (np.concatenate(parts) for parts in zip(*found))
    order = np.argsort(-best, kind="stable")
    return rows[order], labels[order], best[order]


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices, in ascending order, of the `count` largest (all if 0); of equal ones the first."""
    if not count or len(values) <= count:
        return np.arange(len(values))
    least = np.partition(values, -count)[-count]
    chosen = values > least
    equal = np.flatnonzero(values == least)
    chosen[equal[: count - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen)
