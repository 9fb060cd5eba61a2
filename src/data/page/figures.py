"""Figures in the style of the pages."""

import io

from matplotlib.figure import Figure

BLUE, LIGHT, RED, GREEN, GREY = "#2463a8", "#9dc1e6", "#c23b3b", "#2b8a4b", "#8a8a8a"
WIDTH = 8.0  # inches
DPI = 110


def new_figure(height: float, columns: int = 1) -> tuple[Figure, list]:
    """An empty figure with its axes, side by side."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()
