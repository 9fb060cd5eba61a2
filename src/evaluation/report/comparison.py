"""What the report shows of two evaluations of the same images."""

from collections.abc import Iterator, Sequence

import numpy as np

from src.data.page.figures import BLUE, RED, new_figure
from src.evaluation.coco_metric import Metrics
from src.evaluation.comparison import Comparison
from src.evaluation.matching import from_score, match_split
from src.evaluation.report.charts import Chart, short
from src.evaluation.report.evaluated import Evaluated
from src.evaluation.report.pictures import draw_images, errors_by_image, jpeg
from src.evaluation.report.table import number, signed
from src.runtime.html import data_url

AGAINST = "against"  # of its chart's files
CHANGED = 4  # images that got better, and as many that got worse


def against_chart(metrics: Metrics, other: Metrics) -> Chart:
    """AP of each class less the other's, the largest rise first."""
    rows = [
        (name, ap, other.by_class["AP"][name], ap - other.by_class["AP"][name])
        for name, ap in metrics.by_class["AP"].items()
    ]
    rows.sort(key=lambda row: (np.isnan(row[3]), -row[3]))
    figure, (axes,) = new_figure(1 + 0.22 * len(rows))
    places, changes = np.arange(len(rows)), np.nan_to_num([row[3] for row in rows])
    bars = axes.barh(places, changes, color=[RED if c < 0 else BLUE for c in changes])
    texts = [f"{signed(row[3])}, {number(row[1])}" for row in rows]
    axes.bar_label(bars, texts, padding=3, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(places, [short(row[0]) for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.25)
    axes.set_xlabel("difference of AP")
    return Chart(
        AGAINST,
        "Difference of AP by class",
        "This detector's AP less the other's, and this one's.",
        figure,
        ("class", "AP", "other AP", "difference"),
        rows,
    )


def changed_images(changes: Sequence[int]) -> tuple[list[int], list[int]]:
    """The images that lost the most errors, and those that got the most."""
    order = sorted(range(len(changes)), key=changes.__getitem__)
    better = [image for image in order[:CHANGED] if changes[image] < 0]
    worse = [image for image in order[::-1][:CHANGED] if changes[image] > 0]
    return better, worse


def comparison_parts(evaluated: Evaluated, comparison: Comparison, *, pictures: bool) -> dict:
    """What the page shows of a comparison, besides its chart."""
    annotations, names = evaluated.annotations, evaluated.names
    others = comparison.metrics.overall
    other = match_split(annotations, comparison.other.rows)
    both = [from_score(other, evaluated.drawn_score), evaluated.drawn]
    errors = [errors_by_image(annotations, each) for each in both]
    changes = [one.total - before.total for before, one in zip(*errors)]
    better, worse = changed_images(changes)

    def drawn(images: Sequence[int]) -> Iterator[dict]:
        """The pictures of images: ground truth, the other's detections, this one's."""
        for one in draw_images(annotations, names, both, images):
            yield {
                "name": str(one.record.path),
                "errors": [each[one.image].total for each in errors],
                "pictures": [data_url(jpeg(picture), "jpeg") for picture in one.pictures],
                "left_out": sum(one.left_out),
            }

    return {
        "text": comparison.text(),
        "rows": [
            [name, number(value), number(others[name]), signed(value - others[name])]
            for name, value in evaluated.metrics.overall.items()
        ],
        "fewer": sum(change < 0 for change in changes),
        "more": sum(change > 0 for change in changes),
        "better": list(drawn(better)) if pictures else [],
        "worse": list(drawn(worse)) if pictures else [],
    }
