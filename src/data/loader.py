"""From records to batches: decoding, augmentation and assignment in worker threads."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from src.data.annotations import Annotations, Record
from src.data.transforms import Sample, augment, resize_image
from src.detection.assign import Assigner
from src.errors import InputError

PREFETCHED_BATCHES = 3
ORDER_STREAM, SAMPLE_STREAM = 0, 1  # keep the draws of order and augmentation apart


@dataclass(frozen=True)
class TrainBatch:
    """N images with compact targets.

    images (N,S,S,3) uint8; assigned (N,A) int32, an index into the image's boxes or
    detection.assign's BACKGROUND or IGNORED; boxes (N,G,4) float32 and labels (N,G) int32, padded
    to the G of the training set; image_ids (N,) int64.
    """

    images: np.ndarray
    assigned: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    image_ids: np.ndarray


@dataclass(frozen=True)
class EvalBatch:
    """N images (N,S,S,3) uint8, image_ids (N,) and sizes (N,2): each image's own width, height."""

    images: np.ndarray
    image_ids: np.ndarray
    sizes: np.ndarray


def read_image(path: Path) -> np.ndarray:
    """The image's stored pixels (H,W,3) uint8 RGB; EXIF rotation is ignored, as COCO expects."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(data, flags) if len(data) else None
    if image is None:
        raise InputError(f"{path}: not an image that can be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_record(record: Record) -> np.ndarray:
    """The record's image; InputError where its size is not what the annotations say."""
    image = read_image(record.path)
    height, width = image.shape[:2]
    if (width, height) != (record.width, record.height):
        raise InputError(
            f"{record.path}: is {width} x {height} pixels, but its annotations are for "
            f"{record.width} x {record.height}; was it resized or rotated?"
        )
    return image


class TrainSamples:
    """Training samples by (epoch, index), the same in whatever order they are asked for.

    Args:
        annotations: the split.
        image_size: (height, width) of the network's input.
        preset: augmentation, see `data.transforms.augment`.
        assigner: makes the targets.
        seed: of every random draw; a sample's depend on (seed, epoch, index) alone.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        image_size: tuple[int, int],
        preset: str,
        assigner: Assigner,
        seed: int,
    ):
        self.annotations = annotations
        self.image_size = image_size
        self.preset = preset
        self.assigner = assigner
        self.seed = seed
        self.max_objects = max(annotations.max_objects(), 1)

    def order(self, epoch: int) -> np.ndarray:
        """The images' indices in the order of the epoch, (I,)."""
        rng = np.random.default_rng((self.seed, ORDER_STREAM, epoch))
        return rng.permutation(len(self.annotations))

    def batch(self, epoch: int, indices: np.ndarray) -> TrainBatch:
        """The samples `indices` (N,) of the epoch as a batch."""
        rows = [self._sample(epoch, int(index)) for index in indices]
        images, assigned, boxes, labels, ids = zip(*rows)
        return TrainBatch(
            images=np.stack(images),
            assigned=np.stack(assigned),
            boxes=np.stack(boxes),
            labels=np.stack(labels),
            image_ids=np.array(ids, np.int64),
        )

    def _sample(self, epoch: int, index: int) -> tuple:
        record = self.annotations[index]
        sample = Sample(read_record(record), record.boxes, record.labels, record.crowd)
        rng = np.random.default_rng((self.seed, SAMPLE_STREAM, epoch, index))
        sample = augment(sample, self.preset, self.image_size, rng)
        assigned = self.assigner(sample.boxes, sample.crowd).astype(np.int32)
        count = len(sample.boxes)
        boxes = np.zeros((self.max_objects, 4), np.float32)
        boxes[:, 2:] = 1  # padding with a box of positive area keeps log() finite
        labels = np.zeros(self.max_objects, np.int32)
        boxes[:count], labels[:count] = sample.boxes, sample.labels
        return sample.image, assigned, boxes, labels, record.image_id


def steps_per_epoch(annotations: Annotations, batch_size: int) -> int:
    """Whole batches in the split; InputError where there is none."""
    if len(annotations) < batch_size:
        raise InputError(
            f"{annotations.source}: {len(annotations)} images are fewer than a batch of "
            f"{batch_size}; use a smaller --batch_size"
        )
    return len(annotations) // batch_size


def train_batches(
    samples: TrainSamples, *, batch_size: int, epoch: int, workers: int, limit: int
) -> Iterator[TrainBatch]:
    """The epoch's batches in order, `limit` at most; an incomplete last one is left out."""
    order = samples.order(epoch)
    count = min(steps_per_epoch(samples.annotations, batch_size), limit)
    groups = [order[i * batch_size : (i + 1) * batch_size] for i in range(count)]
    return in_threads(lambda group: samples.batch(epoch, group), groups, workers)


def eval_batches(
    annotations: Annotations, *, image_size: tuple[int, int], batch_size: int, workers: int
) -> Iterator[EvalBatch]:
    """All images in the order of the annotations; the last batch may be smaller."""

    def batch(start: int) -> EvalBatch:
        stop = min(start + batch_size, len(annotations))
        records = [annotations[i] for i in range(start, stop)]
        images, sizes = [], []
        for record in records:
            image = read_record(record)
            images.append(resize_image(image, image_size))
            sizes.append((image.shape[1], image.shape[0]))
        ids = np.array([r.image_id for r in records], np.int64)
        return EvalBatch(np.stack(images), ids, np.array(sizes, np.float32))

    return in_threads(batch, range(0, len(annotations), batch_size), workers)


def in_threads(make: Callable, arguments, workers: int) -> Iterator:
    """Yields make(a) for each argument in order, `workers` threads working ahead (0: none).

    OpenCV and NumPy release the interpreter's lock in what takes long. What `make` raises, this
    raises at the item's turn.
    """
    if workers == 0:
        yield from map(make, arguments)
        return
    ahead = max(PREFETCHED_BATCHES, workers)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        try:
            for argument in arguments:
                waiting.append(pool.submit(make, argument))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
