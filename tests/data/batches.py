"""Training batches of the drawn data set, for tests of the loader."""

import numpy as np

from src.data.augmentation.presets import Augmentation
from src.data.dataset import build_annotations
from src.data.loader import TrainLoader, TrainSamples
from src.detection.anchors import build_anchors
from src.detection.assign import MaxIoUAssigner

FIELDS = ("images", "assigned", "boxes", "labels", "image_ids")


def make_samples(cfg, **augmentation):
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    return TrainSamples(
        build_annotations(cfg, training=True),
        image_size=cfg.image_size,
        augmentation=Augmentation(**augmentation),
        assigner=MaxIoUAssigner(anchors, positive_iou=0.5),
        seed=11,
    )


def epoch_of(samples, epoch, *, workers=0, batch_size=5, rank=0, ranks=1, **part):
    loader = TrainLoader(samples, batch_size=batch_size, workers=workers, rank=rank, ranks=ranks)
    batches = list(loader.epoch(epoch, **part))
    loader.close()
    return batches


def assert_same(one, other, fields=FIELDS):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other):
        for field in fields:
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
