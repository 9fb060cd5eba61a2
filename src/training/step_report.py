"""The results of an update."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """Numbers of the whole job, the same on all ranks.

    Attributes:
        loss: before the update; terms: its parts by `DetectionLoss.term_names`.
        positives: anchors with an object.
        gradient_norm: before clipping.
        loss_scale: of the backward pass.
        updated: False if a number was not finite, so that the weights are unchanged.
        overflow: whether the loss scale caused that.
        news: whether a rank has news, see `Agreement`.
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
