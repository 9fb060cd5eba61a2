"""Charts of errors and of scores for the report."""

from collections.abc import Sequence

import numpy as np

from src.data.page.figures import BLUE, GREEN, GREY, LIGHT, RED, WIDTH, new_figure
from src.evaluation.diagnosis import BINS, THRESHOLDS, Calibration, Tradeoff
from src.evaluation.error_kinds import KINDS, MEANINGS, MISSED, Errors
from src.evaluation.report.charts import Chart, short

CELLS_WITH_NUMBERS = 12  # most classes with numbers in the confusion matrix
NAME_HEIGHT = 0.16  # inches per name beside it
SHOWN_CONFUSIONS = 5


def error_chart(errors: Errors, found: dict[str, int], min_score: float) -> Chart:
    """Cost of each kind of error, and how many are `found` at scores from `min_score` up."""
    figure, (left, right) = new_figure(2.8, 2)
    places = np.arange(len(KINDS))
    costs = left.barh(places, [errors.cost[kind] for kind in KINDS], color=BLUE)
    counts = right.barh(places, [found[kind] for kind in KINDS], color=GREY)
    left.bar_label(costs, fmt="%.3f", padding=3)
    right.bar_label(counts, fmt="{:,.0f}", padding=3)
    left.set_yticks(places, KINDS)
    right.set_yticks(places, ["" for _ in KINDS])
    left.set_title(f"cost in AP50, of {errors.ap50:.3f}")
    right.set_title(f"count at scores from {min_score:g}")
    for axes in (left, right):
        axes.set_ylim(len(KINDS) - 0.5, -0.5)
        axes.margins(x=0.2)
    meanings = "; ".join(f"{kind}: {MEANINGS[kind]}" for kind in KINDS)
    return Chart(
        "errors",
        "Kinds of error",
        "Rise of AP50 if all errors of a kind were fixed, after TIDE (Bolya et al., 2020). "
        f"{meanings}. Counted are those at scores from {min_score:g} up, as drawn below; costs are "
        "of all scores, as AP is. Costs do not add up, since one error can hide another.",
        figure,
        ("kind", "cost in AP50", f"errors ({MISSED}: objects)"),
        [(kind, errors.cost[kind], found[kind]) for kind in KINDS],
    )


def confusion_chart(matrix: np.ndarray, names: Sequence[str], min_score: float) -> Chart:
    """The confusion matrix (K+1,K+1), shaded by the share of each row."""
    labels = [*names, "background"]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    height = min(max(3.0, 0.45 * len(labels)), WIDTH)
    figure, (axes,) = new_figure(height)
    if len(labels) > CELLS_WITH_NUMBERS:
        side = max(height, NAME_HEIGHT * len(labels))
        figure.set_size_inches(side, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= CELLS_WITH_NUMBERS:
        for row, column in np.ndindex(matrix.shape):
            if matrix[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = f"{matrix[row, column]:,}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    ticks = {"labels": [short(label) for label in labels], "parse_math": False, "fontsize": 8}
    axes.set_yticks(np.arange(len(labels)), **ticks)
    axes.set_xticks(np.arange(len(labels)), **ticks, rotation=90)
    axes.set(xlabel="detected", ylabel="true")
    return Chart(
        "confusion",
        "Confusion matrix",
        f"Objects by true class (rows) and detected class (columns), at scores from {min_score:g}. "
        "Right column: missed objects. Bottom row: false detections, also duplicates, poorly "
        "localised ones, and wrong classes on an object that counts elsewhere. "
        + frequent_confusions(matrix, labels),
        figure,
        ("true \\ detected", *labels),
        [[label, *row] for label, row in zip(labels, matrix.tolist())],
    )


def frequent_confusions(matrix: np.ndarray, labels: Sequence[str]) -> str:
    """The largest cells off the diagonal and background, in words."""
    between = matrix[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    order = np.argsort(-between, axis=None, kind="stable")[:SHOWN_CONFUSIONS]
    cells = [divmod(int(cell), len(between)) for cell in order]
    texts = [
        f"{between[true, detected]:,} x {labels[true]} as {labels[detected]}"
        for true, detected in cells
        if between[true, detected]
    ]
    return f"Most often: {', '.join(texts)}." if texts else "No classes were confused."


def calibration_chart(calibration: Calibration) -> Chart:
    """Precision over score."""
    figure, (left, right) = new_figure(3.2, 2)
    centres = (np.arange(BINS) + 0.5) / BINS
    columns = (calibration.count, calibration.score, calibration.right)
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    left.bar(centres, np.nan_to_num(calibration.right), 0.9 / BINS, color=LIGHT)
    left.plot(calibration.score, calibration.right, "o", color=BLUE, ms=4)
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="precision")
    left.set_title(f"mean gap {calibration.error:.3f}")
    right.bar(centres, calibration.count, 0.9 / BINS, color=GREY)
    right.set(xlim=(0, 1), xlabel="score", ylabel="detections")
    right.set_yscale("symlog")
    return Chart(
        "calibration",
        "Can scores be trusted?",
        "Are 80% of the detections with a score of 0.8 right? Above the dashed line scores are too "
        "low, below it too high.",
        figure,
        ("score from", "detections", "mean score", "precision"),
        list(zip((np.arange(BINS) / BINS).tolist(), *(column.tolist() for column in columns))),
    )


def threshold_chart(tradeoff: Tradeoff) -> Chart:
    """Precision, recall and F1 over the score threshold."""
    figure, (axes,) = new_figure(3)
    for name, colour in (("precision", BLUE), ("recall", GREEN), ("F1", RED)):
        axes.plot(THRESHOLDS, getattr(tradeoff, name.lower()), color=colour, label=name)
    axes.axvspan(0, tradeoff.lowest, color=GREY, alpha=0.15, lw=0)
    best = tradeoff.best()
    axes.axvline(THRESHOLDS[best], color=GREY, ls="--", lw=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold")
    axes.legend(loc="upper right")
    return Chart(
        "thresholds",
        "Which score threshold?",
        "Precision and recall at IoU 0.5, all classes together, without detections of lower "
        f"scores; the lowest is {tradeoff.lowest:.2f}. F1 is highest, {tradeoff.f1[best]:.3f}, at "
        f"{THRESHOLDS[best]:.2f}.",
        figure,
        ("threshold", "precision", "recall", "F1"),
        np.column_stack([THRESHOLDS, tradeoff.precision, tradeoff.recall, tradeoff.f1])
        .round(5)
        .tolist(),
    )
