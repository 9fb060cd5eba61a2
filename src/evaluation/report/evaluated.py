"""What the report shows."""

from dataclasses import dataclass
from functools import cached_property

from src.data.annotations import Annotations
from src.evaluation.coco_metric import Metrics
from src.evaluation.matching import Matches, from_score


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Detections in the images that count, their matches at IoU 0.5, and their metrics."""

    annotations: Annotations
    names: tuple[str, ...]  # of the classes, by label
    matches: Matches
    metrics: Metrics
    drawn_score: float  # lower scores are left out of pictures and of counts of errors

    @cached_property
    def drawn(self) -> Matches:
        """The matches at scores from `drawn_score` up."""
        return from_score(self.matches, self.drawn_score)
