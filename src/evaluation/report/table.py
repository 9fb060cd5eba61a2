"""The numbers of an evaluation as text."""

import numpy as np

from src.evaluation.coco_metric import Metrics

WIDTH = 9  # of a column


def metrics_table(metrics: Metrics, title: str) -> str:
    """Overall metrics and those of each class as aligned text; "-" where no object counts."""
    lines = [title]
    names = list(metrics.overall)
    for row in (names[:6], names[6:12], names[12:]):  # AP, AR, VOC
        if row:
            lines.append("  ".join(f"{name:>{WIDTH}}" for name in row))
            lines.append("  ".join(f"{number(metrics.overall[name]):>{WIDTH}}" for name in row))
    columns = metrics.by_class
    width = max(len(name) for name in metrics.by_class["AP"])
    lines.append("  ".join([f"{'class':<{width}}", *(f"{name:>6}" for name in columns)]))
    for name in metrics.by_class["AP"]:
        values = [f"{number(column[name]):>6}" for column in columns.values()]
        lines.append("  ".join([f"{name:<{width}}", *values]))
    return "\n".join(lines)


def signed(value: float) -> str:
    """Three decimals with a sign, or "-" for nan."""
    return "-" if np.isnan(value) else f"{value:+.3f}"


def number(value: float) -> str:
    """Three decimals, or "-" for nan."""
    return "-" if np.isnan(value) else f"{value:.3f}"
