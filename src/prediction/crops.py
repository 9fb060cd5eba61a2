"""Images and their tiles on the way through a detector."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from src.data.images import read_size
from src.detection.postprocess import Detections
from src.detection.tiles import build_tiling
from src.prediction.inputs import Inputs
from src.runtime.errors import InputError, NotFinite

LEAST_FILLED = 0.8  # share of the places of a group's batches; empty places take time too
Choose = Callable[[], list[Detections]]  # returns a crop's candidates or raises NotFinite
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Crop:
    """A window (4,) of an image (H,W,3), which is number `index` of several."""

    index: int
    image: np.ndarray
    window: np.ndarray

    @property
    def picture(self) -> np.ndarray:
        """The pixels in the window, a view of the image's."""
        x1, y1, x2, y2 = self.window
        return self.image[y1:y2, x1:x2]

    @property
    def size(self) -> np.ndarray:
        """(2,) the image's width and height."""
        return np.array(self.image.shape[1::-1], np.float32)


def called(choose: Choose) -> Choose:
    """Calls `choose` now; the function returned gives or raises what it did."""
    outcome: Future = Future()
    try:
        outcome.set_result(choose())
    except NotFinite as error:
        outcome.set_exception(error)
    return outcome.result


def filled(
    items: Iterable[Item], places: int, needed: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """The items in groups, each just large enough to fill one or more batches of `places`.

    Args:
        needed: places that an item takes.
    """
    group, taken = [], 0
    for item in items:
        group.append(item)
        taken += needed(item)
        if taken >= max(places, LEAST_FILLED * places * math.ceil(taken / places)):
            yield group
            group, taken = [], 0
    if group:
        yield group


def find_batch_size(cfg, inputs: Inputs) -> int:
    """The batch size that the inputs and their tiles can fill, at most `eval_batch_size`."""
    tiling, most = build_tiling(cfg), cfg.eval_batch_size
    if inputs.videos:
        # a stream does not wait for a batch to fill
        return 1 if inputs.stream and not cfg.tiles else most
    if not cfg.tiles:
        return min(most, len(inputs.images))
    total = 0
    for image in inputs.images:
        if isinstance(image, str) or total >= most:  # an address, whose size is not known
            return most
        with suppress(InputError):  # of a file that fails when its turn comes
            total += len(tiling.windows(*read_size(image)))
    return min(max(total, 1), most)
