"""What an update did."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """Numbers of the whole job, the same on all its ranks.

    Attributes:
        loss: of the weights before the update; terms: its parts, as `DetectionLoss.term_names`.
        positives: anchors with an object.
        gradient_norm: before clipping.
        loss_scale: that was used.
        updated: False where a number was not finite and the weights were left as they were.
        overflow: whether that was because of the loss scale.
        news: whether a rank has any.
    """

    loss: float
    terms: Mapping[str, float]
    positives: float
    gradient_norm: float
    loss_scale: float
    updated: bool
    overflow: bool
    news: bool = False

    def numbers(self) -> dict[str, float]:
        """Numbers by name, for records and curves."""
        return {
            "loss": self.loss,
            **self.terms,
            "positives": self.positives,
            "gradient_norm": self.gradient_norm,
            "loss_scale": self.loss_scale,
        }
