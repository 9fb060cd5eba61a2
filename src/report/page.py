"""The report: a page with everything in it, and its figures and numbers as files."""

import base64
import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import cv2
import jinja2
import numpy as np

from src.config import Config
from src.data.annotations import Annotations
from src.evaluation.coco import Metrics
from src.evaluation.diagnosis import calibrate, confusion_matrix, trade_off
from src.evaluation.errors import find_errors
from src.evaluation.matching import Matches, match_split
from src.files import write_atomically
from src.report.charts import (
    Chart,
    calibration_chart,
    class_chart,
    confusion_chart,
    curve_chart,
    error_chart,
    run_chart,
    size_chart,
    threshold_chart,
)
from src.report.pictures import draw_images, false_boxes, missed_boxes, worst_images
from src.report.table import number

TEMPLATE = Path(__file__).with_name("page.html.j2")
DPI = 110
JPEG_QUALITY = 85


def write_report(
    cfg: Config,
    title: str,
    annotations: Annotations,
    rows: np.ndarray,
    metrics: Metrics,
    folder: Path,
) -> Path:
    """Writes report.html into the folder, and each chart as PNG and CSV.

    Args:
        title: says what was evaluated on what, and by which protocol.
        annotations: the images that were counted.
        rows: (R,7) detections in COCO's array form.

    Returns:
        The page: one file that needs no other.
    """
    matches = match_split(annotations, rows)
    charts = make_charts(cfg, annotations, matches, metrics)
    figures = {chart.name: write_chart(chart, folder) for chart in charts}
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    text = page.render(
        title=title,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        overall=metrics.overall,
        by_class=metrics.by_class,
        charts=charts,
        figures=figures,
        worst=list(worst_pictures(cfg, annotations, matches, folder / "pictures")),
        least=cfg.drawn_score,
        number=number,
    )
    path = folder / "report.html"
    write_atomically(path, text)
    return path


def make_charts(
    cfg: Config, annotations: Annotations, matches: Matches, metrics: Metrics
) -> list[Chart]:
    """All charts, in the order of the page."""
    names, least = cfg.classes[1:], cfg.drawn_score
    charts = [
        class_chart(metrics),
        error_chart(find_errors(annotations, matches)),
        curve_chart(metrics),
        threshold_chart(trade_off(annotations, matches)),
        confusion_chart(confusion_matrix(annotations, matches, least), names, least),
        size_chart(metrics),
        calibration_chart(calibrate(matches)),
    ]
    run = run_of(cfg.checkpoint_path)
    return [*charts, run_chart(*run)] if run else charts


def run_of(checkpoint_path: str) -> tuple[list[tuple], list[tuple]]:
    """Losses and evaluations that the checkpoint's run has logged; () where there is no log."""
    path = Path(checkpoint_path).parent.parent / "metrics.jsonl"
    if not path.is_file():
        return ()
    losses, evaluations = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # of a run that was cut off
            continue
        if record.get("kind") == "step" and record.get("loss") is not None:
            losses.append((record["step"], record["loss"]))
        elif record.get("kind") == "evaluation":
            values = [math.nan if record[n] is None else record[n] for n in ("AP", "AP50")]
            evaluations.append((record["step"], *values))
    return losses, evaluations


def write_chart(chart: Chart, folder: Path) -> str:
    """Writes the chart as PNG and CSV; returns the PNG as a data URL."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    chart.figure.savefig(buffer, format="png", dpi=DPI)
    (folder / f"{chart.name}.png").write_bytes(buffer.getvalue())
    write_csv(folder / f"{chart.name}.csv", chart.header, chart.rows)
    return data_url(buffer.getvalue(), "png")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """A table as a file; nan is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in row])


def worst_pictures(
    cfg: Config, annotations: Annotations, matches: Matches, folder: Path
) -> Iterator[dict]:
    """The images with the most false and missed boxes, drawn, written and as the page has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):  # of an earlier evaluation
        old.unlink()
    chosen = worst_images(annotations, matches, cfg.drawn_score)[: cfg.pictures]
    false = false_boxes(annotations, matches, cfg.drawn_score)
    missed = missed_boxes(annotations, matches, cfg.drawn_score)
    index_of = {int(annotations.image_ids[index]): index for index in chosen}
    drawn = draw_images(annotations, cfg.classes[1:], matches, chosen, cfg.drawn_score)
    for record, picture in drawn:
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, data = cv2.imencode(".jpg", picture[..., ::-1], quality)
        (folder / f"{record.image_id}.jpg").write_bytes(data.tobytes())
        index = index_of[record.image_id]
        yield {
            "name": annotations.file_name(index),
            "false": int(false[index]),
            "missed": int(missed[index]),
            "picture": data_url(data.tobytes(), "jpeg"),
        }


def data_url(data: bytes, kind: str) -> str:
    """An image's bytes as a URL that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
