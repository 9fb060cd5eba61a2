"""Writes the report: one HTML page, and its figures and numbers as files."""

import csv
import io
import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import matplotlib
import numpy as np

from src.data.fonts import families, lacking_fonts
from src.data.page.figures import png
from src.evaluation.comparison import Comparison
from src.evaluation.diagnosis import calibrate, confusion_matrix, trade_off
from src.evaluation.error_kinds import count_errors, find_errors
from src.evaluation.report.charts import Chart, class_chart, curve_chart, run_chart, size_chart
from src.evaluation.report.comparison import AGAINST, against_chart, comparison_parts
from src.evaluation.report.diagnoses import (
    calibration_chart,
    confusion_chart,
    error_chart,
    threshold_chart,
)
from src.evaluation.report.evaluated import Evaluated
from src.evaluation.report.pictures import (
    ImageErrors,
    draw_images,
    errors_by_image,
    jpeg,
    ordinary,
    worst_first,
)
from src.evaluation.report.table import number
from src.runtime.files import json_lines, write_atomically
from src.runtime.html import data_url, render

TEMPLATE = Path(__file__).with_name("page.html.j2")
PAGE, PICTURES = "report.html", "pictures"
CHARTS = (
    "errors", "precision_recall", "thresholds", "confusion", "calibration", "sizes", "classes",
    "training",
)  # fmt: skip


def write_report(
    folder: Path,
    evaluated: Evaluated,
    *,
    title: str,
    pictures: int,
    run_folder: Path,
    comparison: Comparison | None = None,
) -> Path:
    """Writes report.html into the folder, and each chart as PNG and CSV.

    Args:
        pictures: most images to draw, worst first; 0 draws no ordinary ones either.
        run_folder: of the training run, whose log is shown if it exists.
        comparison: with an earlier evaluation.
    """
    annotations = evaluated.annotations
    with matplotlib.rc_context({"font.family": families(evaluated.names)}):
        charts = make_charts(evaluated, run_folder, comparison)
        figures = {chart.name: write_chart(chart, folder) for chart in charts}
    errors = errors_by_image(annotations, evaluated.drawn)
    with_errors = worst_first(errors)
    worst = with_errors[:pictures]
    usual = ordinary(errors, [one.image for one in worst]) if pictures else []
    objects = annotations.labels[~annotations.crowd]
    page = render(
        TEMPLATE,
        title=title,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        metrics=evaluated.metrics,
        objects=np.bincount(objects, minlength=len(evaluated.names)).tolist(),
        detections=len(evaluated.matches.score),
        charts=charts,
        figures=figures,
        with_errors=len(with_errors),
        images=len(annotations),
        worst=list(write_pictures(evaluated, worst, folder / PICTURES)),
        ordinary=list(write_pictures(evaluated, usual, folder / PICTURES)),
        median=np.median([one.total for one in errors]) if errors else 0,
        min_score=evaluated.drawn_score,
        number=number,
        note=lacking_fonts(evaluated.names),
        against=comparison and comparison_parts(evaluated, comparison, pictures=pictures > 0),
    )
    write_atomically(folder / PAGE, page)
    return folder / PAGE


def make_charts(
    evaluated: Evaluated, run_folder: Path, comparison: Comparison | None
) -> list[Chart]:
    """The charts of an evaluation, in the order of the page."""
    annotations, matches, metrics = evaluated.annotations, evaluated.matches, evaluated.metrics
    least = evaluated.drawn_score
    charts = [against_chart(metrics, comparison.metrics)] if comparison else []
    if len(matches.score):  # these would be empty without detections
        found = count_errors(annotations, evaluated.drawn)
        charts += [
            error_chart(find_errors(annotations, matches), found, least),
            curve_chart(metrics),
            threshold_chart(trade_off(annotations, matches)),
            confusion_chart(confusion_matrix(annotations, evaluated.drawn), evaluated.names, least),
            calibration_chart(calibrate(matches)),
        ]
    charts += [size_chart(metrics), class_chart(metrics)]
    if run := read_run(run_folder):
        charts.append(run_chart(*run))
    return charts


def clear_report(folder: Path) -> None:
    """Deletes only the files of an earlier `write_report` in the folder."""
    names = [f"{name}.{suffix}" for name in (*CHARTS, AGAINST) for suffix in ("png", "csv")]
    for path in [folder / name for name in (PAGE, *names)]:
        path.unlink(missing_ok=True)
    for path in (folder / PICTURES).glob("*.jpg"):
        if path.stem.lstrip("-").isdigit():  # an image id
            path.unlink()


def read_run(folder: Path) -> tuple[list[tuple], ...]:
    """Losses and evaluations in the log of a training run; () where it has none of either."""
    losses, evaluations = [], []
    for record in json_lines(folder / "metrics.jsonl"):
        if record.get("kind") == "step" and record.get("mean_loss") is not None:
            losses.append((record["step"], record["mean_loss"]))
        elif record.get("kind") == "evaluation":
            # older runs have no loss
            values = [record.get(name) for name in ("AP", "AP50", "loss")]
            values = [math.nan if value is None else value for value in values]
            evaluations.append((record["step"], *values))
    return (losses, evaluations) if losses or evaluations else ()


def write_chart(chart: Chart, folder: Path) -> str:
    """Writes the chart as PNG and CSV; returns the PNG as a data URL."""
    picture = png(chart.figure)
    write_atomically(folder / f"{chart.name}.png", picture)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(chart.header)
    for row in chart.rows:  # nan is an empty cell
        writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in row])
    write_atomically(folder / f"{chart.name}.csv", table.getvalue())
    return data_url(picture, "png")


def write_pictures(
    evaluated: Evaluated, errors: Iterable[ImageErrors], folder: Path
) -> Iterator[dict]:
    """Draws images and writes them as JPEG; yields the values of each for the page."""
    counts = {one.image: one for one in errors}
    for one in draw_images(evaluated.annotations, evaluated.names, [evaluated.drawn], counts):
        data = jpeg(one.joined())
        write_atomically(folder / f"{one.record.image_id}.jpg", data)
        yield {
            "name": str(one.record.path),
            "false": counts[one.image].false,
            "missed": counts[one.image].missed,
            "left_out": one.left_out[0],
            "picture": data_url(data, "jpeg"),
        }
