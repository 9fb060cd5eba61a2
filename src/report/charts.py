"""The report's charts: a figure each, with the numbers it shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.evaluation.coco import Metrics
from src.evaluation.diagnosis import BINS, THRESHOLDS, Calibration, Tradeoff
from src.evaluation.errors import KINDS, MEANINGS, MISSED, Errors
from src.report.table import number

BLUE, LIGHT, RED, GREEN, GREY = "#2463a8", "#9dc1e6", "#c23b3b", "#2b8a4b", "#8a8a8a"
WIDTH = 8.0  # inches
CELLS_WITH_NUMBERS = 12  # classes up to which the confusion matrix has room for them
NAMED_CELLS = 40  # and for names
CURVE_IOUS = {0: "0.50", 2: "0.60", 4: "0.70", 6: "0.80", 8: "0.90"}  # by index
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Chart:
    """A figure and its numbers.

    Attributes:
        name: of its files.
        title: of its section.
        text: how to read it, in a sentence or two.
        figure: drawn.
        header, rows: its numbers as a table.
    """

    name: str
    title: str
    text: str
    figure: Figure
    header: Sequence[str]
    rows: Sequence[Sequence]


def new_figure(height: float, columns: int = 1) -> tuple[Figure, list]:
    """An empty figure with its axes, beside each other."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def class_chart(metrics: Metrics) -> Chart:
    """AP and AP50 of each class."""
    pairs = sorted(
        ((ap, metrics.by_class["AP50"][name], name) for name, ap in metrics.class_ap.items()),
        key=lambda entry: (np.isnan(entry[0]), -entry[0]),
    )
    figure, (axes,) = new_figure(1 + 0.22 * len(pairs))
    places = np.arange(len(pairs))
    wide = axes.barh(places, np.nan_to_num([p[1] for p in pairs]), color=LIGHT, label="AP50")
    axes.barh(places, [p[0] for p in pairs], color=BLUE, height=0.5, label="AP")
    texts = [f"{number(ap)}, {number(ap50)}" for ap, ap50, _ in pairs]
    axes.bar_label(wide, texts, padding=3, fontsize=8)
    axes.set_yticks(places, [p[2] for p in pairs], parse_math=False)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlim(0, 1.15)
    axes.legend(loc="lower right")
    return Chart(
        "classes",
        "AP by class",
        "Best class first. A wide gap between AP50 and AP is a class that is found but placed "
        "loosely.",
        figure,
        ("class", "AP", "AP50"),
        [(name, ap, ap50) for ap, ap50, name in pairs],
    )


def curve_chart(metrics: Metrics) -> Chart:
    """Precision over recall: mean of the classes at several IoUs, and each class at 0.5."""
    curves = metrics.precision[..., 0]  # (10,101,K)
    counted = curves[0].max(axis=0) > -1  # (K,)
    figure, (left, right) = new_figure(3.8, 2)
    columns: dict[str, np.ndarray] = {}
    for index, iou in CURVE_IOUS.items():
        mean = curves[index][:, counted].mean(axis=1) if counted.any() else np.full(101, np.nan)
        columns[f"mean at IoU {iou}"] = mean
        left.plot(RECALLS, mean, color=BLUE, alpha=1 - index / 12, label=f"IoU {iou}")
    for label, name in enumerate(metrics.class_ap):
        values = np.where(curves[0, :, label] > -1, curves[0, :, label], np.nan)
        columns[f"{name} at IoU 0.50"] = values
        right.plot(RECALLS, values, lw=0.8, alpha=0.7, label=name)
    left.legend(loc="upper right", fontsize=8)
    if len(metrics.class_ap) <= CELLS_WITH_NUMBERS:
        for text in right.legend(loc="upper right", fontsize=8).get_texts():
            text.set_parse_math(False)
    for axes, title in ((left, "mean of the classes"), (right, "each class, IoU 0.50")):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    return Chart(
        "precision_recall",
        "Precision and recall",
        "How many detections are right as more and more objects are found. AP is the area below.",
        figure,
        ("recall", *columns),
        np.column_stack([RECALLS, *columns.values()]).round(5).tolist(),
    )


def size_chart(metrics: Metrics) -> Chart:
    """AP and AP50 by the size of objects."""
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
    sides = ("", "\nup to 32 px", "\n32 to 96 px", "\nabove 96 px")
    axes.set_xticks(places, [f"{r[0]}{s}\n{r[1]:,} objects" for r, s in zip(rows, sides)])
    axes.set_ylim(0, 1.1)
    axes.legend(loc="upper left")
    return Chart(
        "sizes",
        "AP by object size",
        "Sizes as COCO has them: the root of an object's area in pixels of the image.",
        figure,
        ("size", "objects", "AP", "AP50"),
        rows,
    )


def error_chart(errors: Errors) -> Chart:
    """What each kind of error costs, and how often it is made."""
    figure, (left, right) = new_figure(2.8, 2)
    places = np.arange(len(KINDS))
    costs = left.barh(places, [errors.cost[kind] for kind in KINDS], color=BLUE)
    counts = right.barh(places, [errors.counts[kind] for kind in KINDS], color=GREY)
    left.bar_label(costs, fmt="%.3f", padding=3)
    right.bar_label(counts, fmt="{:,.0f}", padding=3)
    left.set_yticks(places, KINDS)
    right.set_yticks(places, ["" for _ in KINDS])
    left.set_title(f"AP50 it costs, of {errors.ap50:.3f}")
    right.set_title("how many")
    for axes in (left, right):
        axes.invert_yaxis()
        axes.margins(x=0.2)
    meanings = "; ".join(f"{kind}: {MEANINGS[kind]}" for kind in KINDS)
    return Chart(
        "errors",
        "Kinds of error",
        "What AP50 would rise by if all errors of a kind were mended, after TIDE (Bolya et al., "
        f"2020). {meanings}. Detections of any score count.",
        figure,
        ("kind", "AP50 it costs", f"errors ({MISSED}: objects)"),
        [(kind, errors.cost[kind], errors.counts[kind]) for kind in KINDS],
    )


def confusion_chart(matrix: np.ndarray, names: Sequence[str], least: float) -> Chart:
    """The confusion matrix (K+1,K+1), shaded by the share of each row."""
    labels = [*names, "background"]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(3.0, 0.45 * len(labels)), WIDTH)
    figure, (axes,) = new_figure(side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= CELLS_WITH_NUMBERS:
        for row, column in np.ndindex(matrix.shape):
            if matrix[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                number = f"{matrix[row, column]:,}"
                axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    if len(labels) <= NAMED_CELLS:
        size = 8 if len(labels) <= CELLS_WITH_NUMBERS else 6
        places = np.arange(len(labels))
        axes.set_xticks(places, labels, rotation=60, ha="right", parse_math=False, fontsize=size)
        axes.set_yticks(places, labels, parse_math=False, fontsize=size)
    axes.set(xlabel="detected", ylabel="true")
    return Chart(
        "confusion",
        "Confusion matrix",
        f"Objects by true class (rows) and what was detected there with a score of at least "
        f"{least:g}. Right column: missed. Bottom row: detections where nothing is.",
        figure,
        ("true \\ detected", *labels),
        [[label, *row] for label, row in zip(labels, matrix.tolist())],
    )


def calibration_chart(calibration: Calibration) -> Chart:
    """Score against the share that is right."""
    figure, (left, right) = new_figure(3.2, 2)
    centres = (np.arange(BINS) + 0.5) / BINS
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    left.bar(centres, np.nan_to_num(calibration.right), 0.9 / BINS, color=LIGHT)
    left.plot(calibration.score, calibration.right, "o", color=BLUE, ms=4)
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="share that is right")
    left.set_title(f"mean gap {calibration.error:.3f}")
    right.bar(centres, calibration.count, 0.9 / BINS, color=GREY)
    right.set(xlim=(0, 1), xlabel="score", ylabel="detections")
    right.set_yscale("symlog")
    return Chart(
        "calibration",
        "Can scores be trusted?",
        "Of the detections with a score of 0.8, are 80% right? Bars above the dashed line are "
        "too modest, below it too sure.",
        figure,
        ("score from", "detections", "mean score", "share that is right"),
        list(
            zip(
                (np.arange(BINS) / BINS).tolist(),
                calibration.count.tolist(),
                calibration.score.tolist(),
                calibration.right.tolist(),
            )
        ),
    )


def threshold_chart(tradeoff: Tradeoff) -> Chart:
    """Precision, recall and F1 over the score threshold."""
    figure, (axes,) = new_figure(3)
    for name, colour in (("precision", BLUE), ("recall", GREEN), ("f1", RED)):
        axes.plot(THRESHOLDS, getattr(tradeoff, name), color=colour, label=name.replace("f1", "F1"))
    best = tradeoff.best()
    axes.axvline(THRESHOLDS[best], color=GREY, ls="--", lw=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold")
    axes.legend(loc="upper right")
    return Chart(
        "thresholds",
        "Which score threshold?",
        f"Precision and recall at IoU 0.5, all classes together, if lower scores are dropped. F1 "
        f"is highest, {tradeoff.f1[best]:.3f}, at {THRESHOLDS[best]:.2f}.",
        figure,
        ("threshold", "precision", "recall", "F1"),
        np.column_stack([THRESHOLDS, tradeoff.precision, tradeoff.recall, tradeoff.f1])
        .round(5)
        .tolist(),
    )


def run_chart(losses: Sequence[tuple], evaluations: Sequence[tuple]) -> Chart:
    """Loss and AP in the course of the training run.

    Args:
        losses: (step, loss) of each logged update.
        evaluations: (step, AP, AP50) of each evaluation.
    """
    figure, (left, right) = new_figure(3, 2)
    if losses:
        left.plot(*zip(*losses), color=BLUE, lw=1)
    left.set(title="loss", xlabel="update")
    if evaluations:
        steps, ap, ap50 = zip(*evaluations)
        right.plot(steps, ap, "o-", color=BLUE, ms=3, label="AP")
        right.plot(steps, ap50, "o-", color=LIGHT, ms=3, label="AP50")
        right.legend()
    right.set(title="AP", xlabel="update")
    for axes in (left, right):
        axes.set_xlim(left=0)
    right.set_ylim(bottom=0)
    rows = [(step, "loss", loss) for step, loss in losses]
    for step, ap, ap50 in evaluations:
        rows += [(step, "AP", ap), (step, "AP50", ap50)]
    return Chart(
        "training",
        "The training run",
        "From metrics.jsonl of the run that the checkpoint is of.",
        figure,
        ("update", "what", "value"),
        rows,
    )
