"""Charts of metrics for the report, with their numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from src.data.fonts import drawable
from src.data.page.figures import BLUE, LIGHT, RED, new_figure
from src.evaluation.coco_metric import LARGE_AREA, SMALL_AREA, Metrics
from src.evaluation.curves import RECALLS
from src.evaluation.report.table import number

MAX_NAME_LENGTH = 24  # characters of a class name in charts
MAX_LEGEND_CURVES = 10  # curves
CURVE_IOUS = {0: "0.50", 2: "0.60", 4: "0.70", 6: "0.80", 8: "0.90"}  # by index


@dataclass(frozen=True)
class Chart:
    """A figure, and its numbers as a table."""

    name: str  # of its files
    title: str  # of its section
    text: str  # how to read it
    figure: Figure
    header: Sequence[str]
    rows: Sequence[Sequence]


def short(name: str) -> str:
    """A class name, shortened for charts, in letters that a font has."""
    name = drawable(name)
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 3] + "..."


def class_chart(metrics: Metrics) -> Chart:
    """AP and AP50 of each class."""
    pairs = sorted(
        ((ap, metrics.by_class["AP50"][name], name) for name, ap in metrics.by_class["AP"].items()),
        key=lambda entry: (np.isnan(entry[0]), -entry[0]),
    )
    figure, (axes,) = new_figure(1 + 0.22 * len(pairs))
    places = np.arange(len(pairs))
    wide = axes.barh(places, np.nan_to_num([p[1] for p in pairs]), color=LIGHT, label="AP50")
    axes.barh(places, [p[0] for p in pairs], color=BLUE, height=0.5, label="AP")
    texts = [f"{number(ap)}, {number(ap50)}" for ap, ap50, _ in pairs]
    axes.bar_label(wide, texts, padding=3, fontsize=8)
    axes.set_yticks(places, [short(p[2]) for p in pairs], parse_math=False)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlim(0, 1.15)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.legend(loc="lower right")
    return Chart(
        "classes",
        "AP by class",
        "Best class first. A wide gap between AP50 and AP means poor localisation.",
        figure,
        ("class", "AP", "AP50"),
        [(name, ap, ap50) for ap, ap50, name in pairs],
    )


def curve_chart(metrics: Metrics) -> Chart:
    """Precision over recall: class mean at several IoUs, and each class at 0.5."""
    curves = metrics.precision[..., 0]  # (10,101,K)
    counted = curves[0].max(axis=0) > -1  # (K,)
    figure, (left, right) = new_figure(3.8, 2)
    columns: list[tuple[str, np.ndarray]] = []
    for index, iou in CURVE_IOUS.items():
        mean = curves[index][:, counted].mean(axis=1) if counted.any() else np.full(101, np.nan)
        columns.append((f"mean at IoU {iou}", mean))
        left.plot(RECALLS, mean, color=BLUE, alpha=1 - index / 12, label=f"IoU {iou}")
    names = metrics.by_class["AP50"]
    shown = extremes(names)
    for label, name in enumerate(names):
        values = np.where(curves[0, :, label] > -1, curves[0, :, label], np.nan)
        columns.append((f"{name} at IoU 0.50", values))
        if name in shown:
            right.plot(RECALLS, values, lw=0.9, label=short(name))
    left.legend(loc="upper right", fontsize=8)
    for text in right.legend(loc="upper right", fontsize=8).get_texts():
        text.set_parse_math(False)
    which = "each class" if len(shown) == len(names) else "the best and worst classes"
    for axes, title in ((left, "mean of the classes"), (right, f"{which}, IoU 0.50")):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    return Chart(
        "precision_recall",
        "Precision and recall",
        "Precision as more objects are found. AP is the area under the curve.",
        figure,
        ("recall", *(name for name, _ in columns)),
        np.column_stack([RECALLS, *(values for _, values in columns)]).round(5).tolist(),
    )


def extremes(values: dict[str, float]) -> set[str]:
    """Up to MAX_LEGEND_CURVES names, those with the highest and lowest values."""
    order = sorted((name for name in values if not np.isnan(values[name])), key=values.get)
    half = MAX_LEGEND_CURVES // 2
    return set(order if len(order) <= MAX_LEGEND_CURVES else order[:half] + order[-half:])


def size_chart(metrics: Metrics) -> Chart:
    """AP and AP50 by object size."""
    rows = []
    for index, (name, count) in enumerate(metrics.objects.items()):
        curves = metrics.precision[..., index]  # (10,101,K)
        counted = curves[0].max(axis=0) > -1
        values = [c[..., counted].mean() if counted.any() else np.nan for c in (curves, curves[0])]
        rows.append((name, count, *map(float, values)))
    figure, (axes,) = new_figure(3)
    places = np.arange(len(rows))
    for shift, column, colour, name in ((-0.2, 2, BLUE, "AP"), (0.2, 3, LIGHT, "AP50")):
        values = [row[column] for row in rows]
        bars = axes.bar(places + shift, np.nan_to_num(values), 0.4, color=colour, label=name)
        axes.bar_label(bars, [number(value) for value in values], padding=2)
    small, large = (round(area**0.5) for area in (SMALL_AREA, LARGE_AREA))
    sides = ("", f"\nup to {small} px", f"\n{small} to {large} px", f"\nabove {large} px")
    axes.set_xticks(places, [f"{r[0]}{s}\n{r[1]:,} objects" for r, s in zip(rows, sides)])
    axes.set_ylim(0, 1.1)
    axes.legend(loc="upper left")
    return Chart(
        "sizes",
        "AP by object size",
        "COCO's sizes: the square root of an object's area in pixels of the image. The area is the "
        "annotation file's, which may be that of a mask, or else that of the box.",
        figure,
        ("size", "objects", "AP", "AP50"),
        rows,
    )


def run_chart(losses: Sequence[tuple], evaluations: Sequence[tuple]) -> Chart:
    """Loss and AP during the training run.

    Args:
        losses: (step, mean loss since the step before) of each line of the log.
        evaluations: (step, AP, AP50, loss or nan) of each evaluation.
    """
    figure, axes = new_figure(3, 2 if evaluations else 1)
    if losses:
        axes[0].plot(*zip(*losses), color=BLUE, lw=1, label="training")
    measured = [(step, loss) for step, _, _, loss in evaluations if math.isfinite(loss)]
    if measured:
        axes[0].plot(*zip(*measured), "o-", color=RED, ms=3, label="evaluation")
        axes[0].legend()
    axes[0].set(title="mean loss", xlabel="update")
    plain = "It was not evaluated; --eval_interval=1 of train.py gives AP after each epoch."
    if evaluations:
        plain = "That of an evaluation is of plain ones."
        steps, ap, ap50, _ = zip(*evaluations)
        axes[1].plot(steps, ap, "o-", color=BLUE, ms=3, label="AP")
        axes[1].plot(steps, ap50, "o-", color=LIGHT, ms=3, label="AP50")
        axes[1].legend()
        axes[1].set(title="AP", xlabel="update", ylim=(0, 1))
    for one in axes:
        one.set_xlim(left=0)
    rows = [(step, "mean loss", loss) for step, loss in losses]
    rows += [(step, "evaluation loss", loss) for step, loss in measured]
    for step, ap, ap50, _ in evaluations:
        rows += [(step, "AP", ap), (step, "AP50", ap50)]
    return Chart(
        "training",
        "The training run",
        "From metrics.jsonl of the checkpoint's run. The loss in training is the mean since the "
        f"point before, as in log.txt, of augmented images. {plain}",
        figure,
        ("update", "what", "value"),
        rows,
    )
