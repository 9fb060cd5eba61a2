"""What a detector found in an image, for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from src.config.class_list import is_background
from src.runtime.errors import InputError
from src.runtime.text import listed, suggestion

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects in an image, best first; unpacks as `boxes, scores, names`.

    Attributes:
        boxes: (D,4) x1, y1, x2, y2 in the image's pixels.
        scores: (D,).
        names: of the classes.
        labels: (D,) indices into the detector's `names`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    names: list[str]
    labels: np.ndarray

    def __iter__(self) -> Iterator[np.ndarray | list[str]]:
        return iter((self.boxes, self.scores, self.names))

    def to_supervision(self) -> supervision.Detections:
        """The objects as the library supervision has them, for its annotators and trackers.

        Raises:
            InputError: the library is not installed.
        """
        try:
            import supervision as sv
        except ModuleNotFoundError as error:
            raise InputError(
                f"to_supervision() needs the package {error.name}, which is not installed: pip "
                "install supervision"
            ) from error
        return sv.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.names, dtype=str)},
        )


def labels_of(classes: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Labels of the classes among the detector's `names`; the background is ignored.

    Raises:
        InputError: the list is empty, or no list, or names an unknown class.
    """
    if isinstance(classes, str):
        raise InputError(f"classes is {classes!r}; expected a list, such as [{classes!r}]")
    wanted = [name for name in classes if not is_background(str(name))]
    if not wanted:
        raise InputError("classes names none; leave it out for all classes of the detector")
    for name in wanted:
        if name not in names:
            hint = suggestion(name, names) or f"; the detector knows {listed(names)}"
            raise InputError(f"classes: the detector has no class {name!r}{hint}")
    return np.array([names.index(name) for name in wanted])
