"""What an evaluation leaves: detections, ground truth, numbers and the report."""

from pathlib import Path

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.fonts import lacking_fonts
from src.evaluation.coco_metric import Metrics, evaluate, ground_truth
from src.evaluation.comparison import DETECTIONS, NUMBERS, TRUTH, Other, compare
from src.evaluation.detect import SplitDetections
from src.evaluation.matching import match_split
from src.evaluation.protocol import SETTINGS
from src.evaluation.report.evaluated import Evaluated
from src.evaluation.report.page import clear_report, write_report
from src.evaluation.report.table import metrics_table
from src.evaluation.results import write_results
from src.evaluation.split_loss import describe_losses
from src.runtime.files import to_json, write_atomically


def write_outputs(
    cfg: Config,
    title: str,
    annotations: Annotations,
    found: SplitDetections,
    folder: Path,
    other: Other | None,
) -> tuple[Metrics, Path | None]:
    """Computes the metrics; prints them and writes them into the folder with the detections.

    Returns the metrics, and the report's page if there is one.

    Args:
        annotations: the images that count.
        other: an earlier evaluation of them to compare with.
    """
    found.check()  # raises where a metric would be wrong
    clear_report(folder / "report")  # of an earlier evaluation
    write_results(folder / DETECTIONS, found.rows)
    truth = ground_truth(annotations, cfg.classes)
    write_atomically(folder / TRUTH, to_json(truth))
    metrics = evaluate(annotations, cfg.classes, found.rows)
    print(metrics_table(metrics, title))
    if found.losses:
        print(describe_losses(found.losses))
    if found.unreadable.messages:
        print(f"without detections: {found.unreadable}")
    numbers, comparison = numbers_of(cfg, title, metrics, len(annotations)), None
    numbers["losses"] = found.losses
    if other:
        comparison = compare(annotations, cfg.classes, truth, found.rows, other, seed=cfg.seed)
        numbers["against"] = comparison.to_dict()
        print(comparison.text())
    write_atomically(folder / NUMBERS, to_json(numbers))
    print(f"detections: {folder / DETECTIONS}")
    if not cfg.report:
        return metrics, None
    matches = match_split(annotations, found.rows)
    page = write_report(
        folder / "report",
        Evaluated(annotations, cfg.classes[1:], matches, metrics, cfg.drawn_score),
        title=title,
        pictures=cfg.pictures,
        run_folder=run_folder(cfg),
        comparison=comparison,
    )
    if note := lacking_fonts(cfg.classes[1:]):
        print(f"note: {note}")
    print(f"report: {page}")
    return metrics, page


def run_folder(cfg: Config) -> Path:
    """The folder of the run that the evaluated detector is of, if it lies in one."""
    return Path(cfg.model or Path(cfg.checkpoint_path).parent).absolute().parent


def numbers_of(cfg: Config, title: str, metrics: Metrics, images: int) -> dict:
    """What metrics.json holds."""
    return {
        "title": title,
        "protocol": cfg.protocol,
        "settings": {name: cfg[name] for name in SETTINGS},
        "images": images,
        "overall": metrics.overall,
        "by_class": metrics.by_class,
        "objects": metrics.objects,
    }
