"""Batches to train on: decoding, augmentation and assignment, in worker processes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from src.data.annotations import Annotations, Record
from src.data.augmentation.mosaic import TILES
from src.data.augmentation.presets import Augmentation, augment, build_augmentation
from src.data.sampling import images_per_epoch, repeat_factors, repeated
from src.data.targets import target_layout, write_targets
from src.data.transforms import Sample
from src.data.workers import Arrays, Layout, Prefetcher
from src.detection.assign import Assigner, build_assigner
from src.runtime.errors import InputError

ORDER_STREAM, SAMPLE_STREAM = 0, 1  # keep the draws of order and augmentation apart
MAX_REPLACEMENTS = 10  # images tried in turn until one can be read

Unread = list[tuple[int, str]]  # (index of an image, why it could not be read)


@dataclass(frozen=True)
class TrainBatch:
    """N images with compact targets; boxes and labels are padded to the G of the training set."""

    images: np.ndarray  # (N,H,W,3) uint8
    assigned: np.ndarray  # (N,A) int32, an index into the image's boxes, BACKGROUND or IGNORED
    boxes: np.ndarray  # (N,G,4) float32
    labels: np.ndarray  # (N,G) int32
    image_ids: np.ndarray  # (N,) int64
    unread: Unread  # images that were replaced


@dataclass(frozen=True, kw_only=True)
class TrainSamples:
    """Training samples by (epoch, number), independent of the order in which they are made.

    The number of a sample is its image's index, or for a repeat in the same epoch that plus a
    multiple of the number of images. Random draws of a sample, those of the other images of a
    mosaic included, depend on (seed, epoch, number) alone.
    """

    annotations: Annotations = field(kw_only=False)
    image_size: tuple[int, int]  # (height, width) of the network's input
    augmentation: Augmentation
    assigner: Assigner
    seed: int
    repeat_threshold: float = 0.0  # see `sampling.repeat_factors`; 0 has each image once an epoch

    def order(self, epoch: int) -> np.ndarray:
        """The numbers of the epoch's samples in order, (M,); without repeats M is I."""
        rng = np.random.default_rng((self.seed, ORDER_STREAM, epoch))
        if self.repeat_threshold:
            return repeated(repeat_factors(self.annotations, self.repeat_threshold), rng)
        return rng.permutation(len(self.annotations))

    def layout(self, batch_size: int) -> Layout:
        """What `fill` fills: the arrays of TrainBatch."""
        tiles = TILES if self.augmentation.mosaic else 1
        n, objects = batch_size, tiles * self.annotations.max_objects()
        return {
            "images": ((n, *self.image_size, 3), np.uint8),
            **target_layout(n, self.assigner, objects),
            "image_ids": ((n,), np.int64),
        }

    def fill(self, task: tuple[int, np.ndarray], batch: Arrays) -> Unread:
        """Makes the samples (epoch, numbers (N,)); returns the images that had to be replaced."""
        epoch, numbers = task
        unread: Unread = []
        for row, number in enumerate(numbers.tolist()):
            record, sample = self.sample(epoch, number, unread)
            batch["images"][row] = sample.image
            write_targets(batch, row, self.assigner, sample.boxes, sample.labels, sample.crowd)
            batch["image_ids"][row] = record.image_id
        return unread

    def sample(self, epoch: int, number: int, unread: Unread) -> tuple[Record, Sample]:
        """The augmented sample and its image, or another's where that one cannot be read.

        Adds images that could not be read to `unread`.
        """
        rng = np.random.default_rng((self.seed, SAMPLE_STREAM, epoch, number))
        record, sample = self._read(number % len(self.annotations), rng, unread)
        others = []
        if self.augmentation.mosaic and rng.random() < self.augmentation.mosaic:
            drawn = rng.integers(len(self.annotations), size=TILES - 1).tolist()
            others = [self._read(other, rng, unread)[1] for other in drawn]
        return record, augment(sample, self.augmentation, self.image_size, rng, others)

    def _read(self, index: int, rng: np.random.Generator, unread: Unread) -> tuple[Record, Sample]:
        for _ in range(MAX_REPLACEMENTS):
            record = self.annotations[index]
            try:
                return record, Sample(record.read(), record.boxes, record.labels, record.crowd)
            except InputError as error:
                unread.append((index, str(error)))
                index = int(rng.integers(len(self.annotations)))
        raise InputError("\n  ".join(["too many unreadable images:", *(m for _, m in unread)]))


def steps_per_epoch(
    annotations: Annotations, batch_size: int, *, ranks: int = 1, repeat_threshold: float = 0.0
) -> int:
    """Updates of an epoch: whole batches of all ranks together; InputError where there is none."""
    images = images_per_epoch(annotations, repeat_threshold)
    if images < batch_size * ranks:
        each = f" on each of {ranks} ranks" if ranks > 1 else ""
        raise InputError(
            f"{annotations.source}: {images} images are fewer than a batch of {batch_size}{each}; "
            "use a smaller --batch_size"
        )
    return images // (batch_size * ranks)


class TrainLoader:
    """The batches of any epoch, in order, from worker processes that are kept between epochs.

    An epoch is a random order of all images, with repeats of rare classes if asked for, cut into
    global batches of ranks x batch_size; an incomplete last one is dropped (the next epoch has
    another order). A rank gets its own part of each global batch, so the ranks together see what
    one rank with the whole batch would. Without workers each batch is prepared when it is
    requested.
    """

    def __init__(
        self,
        samples: TrainSamples,
        *,
        batch_size: int,
        workers: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.samples = samples
        self.batch_size, self.rank, self.ranks = batch_size, rank, ranks
        self.steps_per_epoch = steps_per_epoch(
            samples.annotations, batch_size, ranks=ranks, repeat_threshold=samples.repeat_threshold
        )
        self.prefetcher = Prefetcher(samples.fill, samples.layout(batch_size), workers=workers)

    def epoch(self, epoch: int, *, first: int = 0, stop: int | None = None) -> Iterator[TrainBatch]:
        """The epoch's batches number first..stop-1; all of them by default.

        RuntimeError where batches of another epoch are still being taken.
        """
        order = self.samples.order(epoch)
        stop = self.steps_per_epoch if stop is None else min(stop, self.steps_per_epoch)
        starts = [(step * self.ranks + self.rank) * self.batch_size for step in range(first, stop)]
        tasks = [(epoch, order[start : start + self.batch_size]) for start in starts]
        with closing(self.prefetcher.run(tasks)) as batches:
            for arrays, unread in batches:
                yield TrainBatch(**arrays, unread=unread)

    def close(self) -> None:
        """Ends the workers."""
        self.prefetcher.close()


def training_samples(cfg, annotations: Annotations) -> TrainSamples:
    """The training samples under the configuration."""
    return TrainSamples(
        annotations,
        image_size=cfg.image_size,
        augmentation=build_augmentation(cfg),
        assigner=build_assigner(cfg),
        seed=cfg.seed,
        repeat_threshold=cfg.repeat_threshold,
    )


def build_loader(cfg, annotations: Annotations, *, rank: int, ranks: int) -> TrainLoader:
    """The training batches of one rank under the configuration."""
    return TrainLoader(
        training_samples(cfg, annotations),
        batch_size=cfg.batch_size,
        workers=cfg.num_workers,
        rank=rank,
        ranks=ranks,
    )
