"""A data set in one picture: charts of its objects, and sample images with their boxes."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.data.drawing import draw_objects, fit_height
from src.data.summary import Summary
from src.runtime.errors import InputError
from src.runtime.text import printable

SAMPLES = 12  # images in the grid
SAMPLE_COLUMNS = 4
SAMPLE_HEIGHT = 300  # pixels
BARS = 40  # classes in the bar chart, the most frequent ones
LOG_RANGE = 20  # ratio of the first and the last bar above which their axis is logarithmic


def draw_summary(summary: Summary) -> Figure:
    """Objects per class, sizes against anchors, best overlaps, and a grid of samples."""
    figure = Figure(figsize=(16, 20), layout="constrained")
    FigureCanvasAgg(figure)
    path = summary.annotations.source
    line = summary.annotations.summary().partition("\n")[0].replace(str(path), path.name)
    figure.suptitle(line, parse_math=False)
    charts, grid = figure.subfigures(2, 1, height_ratios=[9, 11])
    classes, sizes, overlaps = charts.subplots(3, 1)
    draw_classes(classes, summary)
    draw_sizes(sizes, summary)
    draw_overlaps(overlaps, summary)
    draw_samples(grid, summary)
    return figure


def draw_classes(axes, summary: Summary) -> None:
    """Bars of the most frequent classes."""
    order = np.argsort(-summary.object_counts, kind="stable")[:BARS]
    heights = summary.object_counts[order]
    axes.bar(range(len(order)), heights)
    names = [summary.names[i] for i in order]
    axes.set_xticks(range(len(order)), names, rotation=60, ha="right", parse_math=False)
    left_out = len(summary.names) - len(order)
    more = f" ({left_out} rarer ones not shown)" if left_out else ""
    axes.set_title(f"objects per class{more}")
    if heights[0] > LOG_RANGE * max(heights[-1], 1):
        axes.set_yscale("symlog")


def draw_sizes(axes, summary: Summary) -> None:
    """Histogram of the objects' sides, with the anchors' sides as lines."""
    if len(summary.sides):
        low, high = max(summary.sides.min(), 0.5), summary.sides.max()
        edges = np.geomspace(low, max(high, low * 1.01), 60)
        parts = [summary.sides[~summary.unmatched], summary.sides[summary.unmatched]]
        axes.hist(parts, edges, stacked=True, label=["can be matched", "no anchor fits"])
    for number, side in enumerate(summary.anchor_sides):
        label = None if number else "sizes of anchors"
        axes.axvline(side, color="0.4", linestyle=":", linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(
        "objects by side, the square root of their area, in pixels of the network's input"
    )
    axes.legend()


def draw_overlaps(axes, summary: Summary) -> None:
    """Histogram of the best IoU with an anchor."""
    axes.hist(summary.best_ious, np.linspace(0, 1, 51))
    unmatched = f"{summary.unmatched.sum():,} of {len(summary.sides):,}"
    end = f"{unmatched} get no anchor"
    if summary.positive_iou is not None:
        end = f"{unmatched} are below positive_iou"
        axes.axvline(summary.positive_iou, color="tab:red", label="positive_iou")
        axes.legend()
    axes.set_title(f"objects by IoU with the anchor that fits best; {end}")


def draw_samples(figure, summary: Summary) -> None:
    """Draws SAMPLES images with their boxes in the order of `sample_order`."""
    rows = SAMPLES // SAMPLE_COLUMNS
    all_axes = figure.subplots(rows, SAMPLE_COLUMNS).ravel()
    for axes in all_axes:
        axes.axis("off")
    free = iter(all_axes)
    for index in sample_order(summary):
        record = summary.annotations[index]
        try:
            picture = fit_height(record.read(), SAMPLE_HEIGHT)
        except InputError:  # reported elsewhere
            continue
        axes = next(free, None)
        if axes is None:
            return
        draw_objects(picture, record, summary.names)
        axes.imshow(picture)
        axes.set_title(printable(record.path.name), fontsize=8, parse_math=False)


def sample_order(summary: Summary) -> list[int]:
    """All images in a fixed random order, every second one chosen by the rarest class in it."""
    order = np.random.default_rng(0).permutation(len(summary.annotations))
    owners = summary.annotations.owners()[~summary.annotations.crowd]
    rarity = np.full(len(order), np.inf)
    np.minimum.at(rarity, owners, summary.object_counts[summary.labels])
    rare = order[np.argsort(rarity[order], kind="stable")]
    mixed = np.stack([order, rare], axis=1).ravel().tolist()
    return list(dict.fromkeys(mixed))
