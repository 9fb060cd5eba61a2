"""From records to batches for evaluation: images and their tiles, fitted to the network's input."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from src.data.annotations import Annotations
from src.data.loader import Unread
from src.data.short_side import ShortSide
from src.data.targets import TARGETS, target_layout, write_targets
from src.data.transforms import FILL, fit_image
from src.data.workers import Arrays, Layout, Prefetcher
from src.detection.assign import Assigner
from src.detection.tiles import Tiling
from src.runtime.errors import InputError


@dataclass(frozen=True)
class EvalBatch:
    """N windows of images fitted to the network's input, and what maps boxes back to the images."""

    images: list[np.ndarray]  # (N,H,W,3) at each of the V sizes, uint8 or a ShortSide's dtype
    image_ids: np.ndarray  # (N,) int64
    scales: np.ndarray  # (N,V,2) float32, input pixels per pixel of the image in x and y
    sizes: np.ndarray  # (N,2) float32, each image's own width and height
    windows: np.ndarray  # (N,4) int64, corners in the image
    counts: np.ndarray  # (N,) int64, windows of the image in all
    readable: np.ndarray  # (N,) bool
    unread: Unread  # the images that could not be read
    targets: list[tuple[np.ndarray, ...]]  # at each size, TARGETS or none; of whole images alone


@dataclass(frozen=True)
class EvalSamples:
    """Images of a split fitted to the network's input at one or more sizes, not augmented.

    Each is seen in all windows of `tiling`. A crop (6,) is an image's index, how many windows it
    has, and the corners of one. With `short_side` there is one size, and which one depends on the
    crop; see `by_size`. With an `assigner` there are targets, as in training, at `sizes[assigned]`,
    the size of its anchors.
    """

    annotations: Annotations
    sizes: Sequence[tuple[int, int]]
    keep_aspect: bool
    short_side: ShortSide | None = None
    assigner: Assigner | None = None
    assigned: int = 0
    tiling: Tiling = Tiling()
    last: dict[int, np.ndarray] = field(default_factory=dict)  # the image that was read, by index

    def crops(self, indices: np.ndarray) -> np.ndarray:
        """(M,6) the crops of the images `indices` (N,), image by image."""
        sizes = self.annotations.sizes[indices].tolist()
        windows = [self.tiling.windows(*size) for size in sizes]
        counts = np.array([len(own) for own in windows])
        images = np.stack([indices, counts], axis=1).repeat(counts, axis=0)  # (M,2)
        return np.concatenate([images, np.concatenate(windows)], axis=1)

    def by_size(self, crops: np.ndarray) -> list[tuple["EvalSamples", np.ndarray]]:
        """The crops (M,6), divided into those of equal sizes of the input."""
        if self.short_side is None:
            return [(self, crops)]
        own = [self.short_side.canvas(*sides) for sides in (crops[:, 4:] - crops[:, 2:4]).tolist()]
        return [
            (replace(self, sizes=[canvas]), crops[[one == canvas for one in own]])
            for canvas in sorted(set(own))
        ]

    def layout(self, batch_size: int) -> Layout:
        """What `fill` fills; rows beyond a smaller last batch keep what was there."""
        dtype = np.uint8 if self.short_side is None else self.short_side.dtype
        images = {
            f"images{number}": ((batch_size, *size, 3), dtype)
            for number, size in enumerate(self.sizes)
        }
        layout = {**images, "scales": ((batch_size, len(self.sizes), 2), np.float32)}
        if self.assigner is None:
            return layout
        objects = self.annotations.max_objects()
        return {**layout, **target_layout(batch_size, self.assigner, objects)}

    def fill(self, crops: np.ndarray, batch: Arrays) -> Unread:
        """Reads the crops (N,6); returns the images that could not be read."""
        unread: Unread = []
        for row, (index, count, x1, y1, x2, y2) in enumerate(crops.tolist()):
            try:
                image = self._read(index, keep=count > 1)
                picture, is_whole = image[y1:y2, x1:x2], image.shape[:2] == (y2 - y1, x2 - x1)
            except InputError as error:
                unread.append((index, str(error)))
                picture, is_whole = np.full((1, 1, 3), FILL, np.uint8), False
            for number, size in enumerate(self.sizes):
                if self.short_side is None:
                    fitted, scale = fit_image(picture, size, keep_aspect=self.keep_aspect)
                else:
                    fitted, scale = self.short_side.fit(picture, size)
                batch[f"images{number}"][row], batch["scales"][row, number] = fitted, scale
            if self.assigner is not None:
                self._write_targets(batch, row, index, is_whole=is_whole)
        return unread

    def _write_targets(self, batch: Arrays, row: int, index: int, *, is_whole: bool) -> None:
        """The targets of an image, none where the row does not hold all of it."""
        record, count = self.annotations[index], None if is_whole else 0
        boxes = record.boxes[:count] * np.tile(batch["scales"][row, self.assigned], 2)
        labels, crowd = record.labels[:count], record.crowd[:count]
        write_targets(batch, row, self.assigner, boxes, labels, crowd)

    def targets(self, arrays: Arrays, count: int) -> list[tuple[np.ndarray, ...]]:
        """The targets of the first `count` rows at each size, see EvalBatch."""
        targets = [()] * len(self.sizes)
        if self.assigner is not None:
            targets[self.assigned] = tuple(arrays[name][:count] for name in TARGETS)
        return targets

    def _read(self, index: int, *, keep: bool) -> np.ndarray:
        """The image; `keep`: for the next crop, in place of an earlier one."""
        image = self.last.get(index)
        if image is None:
            self.last.clear()
            image = self.annotations[index].read()
        if keep:
            self.last[index] = image
        return image


def eval_batches(
    samples: EvalSamples, *, batch_size: int, workers: int, rank: int = 0, ranks: int = 1
) -> Iterator[EvalBatch]:
    """All of every rank-th image in the order of the annotations, one size after the other.

    The last batch of a size may be smaller.
    """
    own = np.arange(rank, len(samples.annotations), ranks)
    if not len(own):
        return
    for of_size, crops in samples.by_size(samples.crops(own)):
        yield from batches_of(of_size, crops, batch_size=batch_size, workers=workers)


def batches_of(
    samples: EvalSamples, crops: np.ndarray, *, batch_size: int, workers: int
) -> Iterator[EvalBatch]:
    """The crops (M,6), all of the sizes of `samples`."""
    annotations = samples.annotations
    tasks = [crops[start : start + batch_size] for start in range(0, len(crops), batch_size)]
    workers = min(workers, len(tasks))
    prefetcher = Prefetcher(samples.fill, samples.layout(batch_size), workers=workers)
    with closing(prefetcher), closing(prefetcher.run(tasks)) as batches:
        for task, (arrays, unread) in zip(tasks, batches):
            indices, counts, windows = task[:, 0], task[:, 1], task[:, 2:]
            yield EvalBatch(
                images=[arrays[f"images{i}"][: len(task)] for i in range(len(samples.sizes))],
                image_ids=annotations.image_ids[indices],
                scales=arrays["scales"][: len(task)],
                sizes=annotations.sizes[indices].astype(np.float32),
                windows=windows,
                counts=counts,
                readable=~np.isin(indices, [index for index, _ in unread]),
                unread=unread,
                targets=samples.targets(arrays, len(task)),
            )
