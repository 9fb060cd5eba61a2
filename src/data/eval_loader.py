"""Batches to evaluate: images fitted to the network's input, in worker processes."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from src.data.annotations import Annotations
from src.data.loader import Unread
from src.data.short_side import ShortSide
from src.data.targets import TARGETS, target_layout, write_targets
from src.data.transforms import FILL, fit_image
from src.data.workers import Arrays, Layout, Prefetcher
from src.detection.assign import Assigner
from src.runtime.errors import InputError


@dataclass(frozen=True)
class EvalBatch:
    """N images fitted to the network's input, and what maps boxes back to their own pixels."""

    images: list[np.ndarray]  # (N,H,W,3) at each of the V sizes, uint8 or a ShortSide's dtype
    image_ids: np.ndarray  # (N,) int64
    scales: np.ndarray  # (N,V,2) float32, input pixels per pixel of the image in x and y
    sizes: np.ndarray  # (N,2) float32, each image's own width and height
    readable: np.ndarray  # (N,) bool
    unread: Unread  # the images that could not be read
    targets: list[tuple[np.ndarray, ...]]  # at each size, TARGETS or none


@dataclass(frozen=True)
class EvalSamples:
    """Images of a split fitted to the network's input at one or more sizes, not augmented.

    With `short_side` there is one size, and which one depends on the image; see `by_size`. With an
    `assigner` there are targets, as in training, at `sizes[assigned]`, the size of its anchors.
    """

    annotations: Annotations
    sizes: Sequence[tuple[int, int]]
    keep_aspect: bool
    short_side: ShortSide | None = None
    assigner: Assigner | None = None
    assigned: int = 0

    def by_size(self, indices: np.ndarray) -> list[tuple["EvalSamples", np.ndarray]]:
        """The images `indices` (N,), divided into those of equal sizes of the input."""
        if self.short_side is None:
            return [(self, indices)]
        own = [self.short_side.canvas(*size) for size in self.annotations.sizes[indices].tolist()]
        return [
            (replace(self, sizes=[canvas]), indices[[one == canvas for one in own]])
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

    def fill(self, indices: np.ndarray, batch: Arrays) -> Unread:
        """Reads the images `indices` (N,); returns those that could not be read."""
        unread: Unread = []
        for row, index in enumerate(indices.tolist()):
            record = self.annotations[index]
            try:
                image = record.read()
            except InputError as error:
                unread.append((index, str(error)))
                image = np.full((1, 1, 3), FILL, np.uint8)
                none = {name: getattr(record, name)[:0] for name in ("boxes", "labels", "crowd")}
                record = replace(record, **none)
            for number, size in enumerate(self.sizes):
                if self.short_side is None:
                    fitted, scale = fit_image(image, size, keep_aspect=self.keep_aspect)
                else:
                    fitted, scale = self.short_side.fit(image, size)
                batch[f"images{number}"][row], batch["scales"][row, number] = fitted, scale
            if self.assigner is not None:
                boxes = record.boxes * np.tile(batch["scales"][row, self.assigned], 2)
                write_targets(batch, row, self.assigner, boxes, record.labels, record.crowd)
        return unread

    def targets(self, arrays: Arrays, count: int) -> list[tuple[np.ndarray, ...]]:
        """The targets of the first `count` images at each size, see EvalBatch."""
        targets = [()] * len(self.sizes)
        if self.assigner is not None:
            targets[self.assigned] = tuple(arrays[name][:count] for name in TARGETS)
        return targets


def eval_batches(
    samples: EvalSamples, *, batch_size: int, workers: int, rank: int = 0, ranks: int = 1
) -> Iterator[EvalBatch]:
    """Every rank-th image in the order of the annotations, those of one size after the other.

    The last batch of a size may be smaller.
    """
    own = np.arange(rank, len(samples.annotations), ranks)
    for of_size, indices in samples.by_size(own):
        yield from batches_of(of_size, indices, batch_size=batch_size, workers=workers)


def batches_of(
    samples: EvalSamples, indices: np.ndarray, *, batch_size: int, workers: int
) -> Iterator[EvalBatch]:
    """The images `indices` (N,), all of the sizes of `samples`."""
    annotations = samples.annotations
    tasks = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    workers = min(workers, len(tasks))
    prefetcher = Prefetcher(samples.fill, samples.layout(batch_size), workers=workers)
    with closing(prefetcher), closing(prefetcher.run(tasks)) as batches:
        for indices, (arrays, unread) in zip(tasks, batches):
            yield EvalBatch(
                images=[arrays[f"images{i}"][: len(indices)] for i in range(len(samples.sizes))],
                image_ids=annotations.image_ids[indices],
                scales=arrays["scales"][: len(indices)],
                sizes=annotations.sizes[indices].astype(np.float32),
                readable=~np.isin(indices, [index for index, _ in unread]),
                unread=unread,
                targets=samples.targets(arrays, len(indices)),
            )
