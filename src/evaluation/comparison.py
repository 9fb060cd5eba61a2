"""Compares an evaluation with an earlier one of the same images."""

from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations
from src.evaluation.against import Other
from src.evaluation.coco_metric import Metrics, evaluate
from src.evaluation.resampling import (
    INTERVAL,
    RESAMPLES,
    Difference,
    match_classes,
    resampled_difference,
)

SHARE = INTERVAL[1] - INTERVAL[0]  # percent of the resamples that are in the interval


@dataclass(frozen=True)
class Comparison:
    """Another detector's evaluation, its metrics, and this one's AP less its AP."""

    other: Other
    metrics: Metrics
    difference: Difference

    def text(self) -> str:
        """The difference of AP, how certain it is, and what is compared with."""
        one = self.difference
        if np.isnan(one.low):
            return f"no AP to compare with {self.other.title}"
        clear = "higher" if one.low > 0 else "lower" if one.high < 0 else ""
        return (
            f"AP {one.measured:+.3f} against {self.other.title}; of {one.resamples:,} resamples of "
            f"the images {SHARE:g} % are between {one.low:+.3f} and {one.high:+.3f}: "
            + (f"clearly {clear}" if clear else "no clear difference")
        )

    def to_dict(self) -> dict:
        """What metrics.json holds of it."""
        one = self.difference
        return {
            "folder": str(self.other.folder),
            "title": self.other.title,
            "overall": self.metrics.overall,
            "by_class": self.metrics.by_class,
            "difference": {
                "AP": one.measured,
                "interval": [one.low, one.high],
                "percent": SHARE,
                "share_higher": one.higher,
                "resamples": one.resamples,
                "seed": one.seed,
            },
        }


def compare(
    annotations: Annotations,
    classes: tuple[str, ...],
    truth: dict,
    rows: np.ndarray,
    other: Other,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compares detections (R,7) with another evaluation of the images of `annotations`.

    Args:
        truth: the ground truth as the content of a COCO JSON.
    """
    matches = [match_classes(annotations, truth, each) for each in (rows, other.rows)]
    difference = resampled_difference(*matches, seed=seed, resamples=resamples)
    return Comparison(other, evaluate(annotations, classes, other.rows), difference)
