"""What was found in a split, for its page."""

from dataclasses import dataclass
from functools import cached_property

from src.data.annotations import Annotations
from src.data.decoding import Decoded
from src.data.problems import Problems
from src.data.summary import Summary


@dataclass(frozen=True)
class SplitFindings:
    """What was found in a split; without annotations where it could not be read."""

    role: str  # "training" or "evaluation"
    problems: Problems
    annotations: Annotations | None = None
    summary: Summary | None = None  # None where there are no images
    decoded: Decoded | None = None

    @cached_property
    def rows(self) -> dict[int, int]:
        """The images by their ids."""
        ids = [] if self.annotations is None else self.annotations.image_ids.tolist()
        return {image_id: row for row, image_id in enumerate(ids)}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, by label."""
        return () if self.summary is None else self.summary.names
