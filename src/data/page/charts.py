"""Charts and tables of the page."""

import numpy as np

from src.data.page.figures import BLUE, GREY, RED, new_figure, png
from src.data.sampling import class_images
from src.data.summary import POOR_IOU, Summary
from src.runtime.html import data_url

LEAST_SIDE = 0.1  # pixels; smaller ones are in the first bar
MAX_CLASSES = 1000  # in the table, the most frequent
BINS = 60


def class_rows(summary: Summary, threshold: float = 0.0) -> list[dict]:
    """A row for each class, the most frequent first.

    With a threshold for repeats it has the images of an epoch too.
    """
    repeated = class_images(summary.annotations, threshold) if threshold else None
    most = max(int(summary.object_counts.max(initial=0)), 1)
    rows = []
    for label in summary.by_frequency()[:MAX_CLASSES]:
        cells = summary.cells(label)
        if repeated is not None:
            cells.insert(2, f"{repeated[label]:,.0f}")
        share = round(100 * int(summary.object_counts[label]) / most, 1)
        rows.append({"name": summary.names[label], "cells": cells, "share": share})
    return rows


def chart(summary: Summary) -> str:
    """Objects by side, with the anchors', and by best overlap, as a data URL."""
    figure, (left, right) = new_figure(2.8, 2)
    draw_sizes(left, summary)
    draw_overlaps(right, summary)
    return data_url(png(figure), "png")


def draw_sizes(axes, summary: Summary) -> None:
    """Histogram of the objects' sides, with the anchors' sides as lines."""
    if len(summary.sides):
        sides = np.maximum(summary.sides, LEAST_SIDE)
        low, high = sides.min(), sides.max()
        edges = np.geomspace(low, max(high, low * 1.01), BINS)
        parts = [sides[~summary.unmatched], sides[summary.unmatched]]
        labels, colours = ["an anchor fits", "no anchor fits"], [BLUE, RED]
        axes.hist(parts, edges, stacked=True, label=labels, color=colours)
    for number, side in enumerate(summary.anchor_sides):
        label = None if number else "sizes of anchors"
        axes.axvline(side, color=GREY, linestyle=":", linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(title="objects by side", xlabel="square root of the area, pixels of the input")
    axes.legend(fontsize=8)


def draw_overlaps(axes, summary: Summary) -> None:
    """Histogram of the best IoU with an anchor."""
    axes.hist(summary.best_ious, np.linspace(0, 1, 51), color=BLUE)
    least, label = summary.positive_iou, "positive_iou"
    if least is None:
        least, label = POOR_IOU, f"{POOR_IOU:g}, no anchor fits below"
    axes.axvline(least, color=RED, label=label)
    axes.legend(fontsize=8)
    axes.set(title="objects by their best anchor", xlabel="IoU")
