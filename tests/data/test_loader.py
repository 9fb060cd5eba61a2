import numpy as np
import pytest

from src.data.dataset import build_annotations
from src.data.eval_loader import EvalSamples, eval_batches
from src.data.loader import TrainLoader, steps_per_epoch
from src.runtime.errors import InputError
from tests.data.batches import FIELDS, assert_same, epoch_of, make_samples


@pytest.fixture
def samples(small):
    return make_samples(small)


def test_batches_have_the_documented_shapes(samples):
    batches = epoch_of(samples, 0)
    assert len(batches) == 4  # 24 images: the incomplete batch is left out
    batch = batches[0]
    anchors, objects = len(samples.assigner.area), samples.annotations.max_objects()
    assert batch.images.shape == (5, 64, 64, 3)
    assert batch.images.dtype == np.uint8
    assert batch.assigned.shape == (5, anchors)
    assert batch.boxes.shape == (5, objects, 4)
    assert batch.labels.shape == (5, objects)
    assert (batch.boxes[..., 2:] > batch.boxes[..., :2]).all()
    assert batch.unread == []
    ids = np.concatenate([b.image_ids for b in batches])
    assert len(set(ids.tolist())) == 20


def test_assigned_boxes_belong_to_the_image(samples):
    for batch in epoch_of(samples, 0):
        for index in range(5):
            used = batch.assigned[index].max()
            padding = (batch.boxes[index] == [0, 0, 1, 1]).all(axis=1)
            assert not padding[: used + 1].any()


@pytest.mark.parametrize("workers", [2, 5])
def test_number_of_workers_changes_nothing(samples, workers):
    assert_same(epoch_of(samples, 2), epoch_of(samples, 2, workers=workers))


def test_number_of_ranks_changes_nothing(samples):
    (whole, *_) = one = epoch_of(samples, 1, batch_size=8)
    parts = [epoch_of(samples, 1, batch_size=2, rank=rank, ranks=4) for rank in range(4)]
    assert len(one) == 3
    for step, batch in enumerate(one):
        for field in FIELDS:
            joined = np.concatenate([getattr(part[step], field) for part in parts])
            np.testing.assert_array_equal(joined, getattr(batch, field))
    assert whole.images.shape[0] == 8


def test_epochs_differ_in_order_and_draws(samples):
    first, second = epoch_of(samples, 0), epoch_of(samples, 1)
    assert first[0].image_ids.tolist() != second[0].image_ids.tolist()
    images = {}
    for epoch in (0, 1):
        arrays = {name: np.empty(*entry) for name, entry in samples.layout(1).items()}
        samples.fill((epoch, np.array([3])), arrays)
        images[epoch] = arrays["images"]
    assert (images[0] != images[1]).any()


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_can_start_in_the_middle(samples, workers):
    whole = epoch_of(samples, 4)
    assert_same(whole[1:3], epoch_of(samples, 4, workers=workers, first=1, stop=3))
    assert_same(whole[3:], epoch_of(samples, 4, workers=workers, first=3))


def test_one_pool_serves_epoch_after_epoch_even_when_one_is_left_early(samples):
    loader = TrainLoader(samples, batch_size=5, workers=2)
    started = loader.epoch(0)
    next(started)
    started.close()
    batches = list(loader.epoch(3))
    loader.close()
    assert_same(batches, epoch_of(samples, 3))


@pytest.mark.parametrize("workers", [0, 2])
def test_second_epoch_at_the_same_time_is_refused(samples, workers):
    loader = TrainLoader(samples, batch_size=5, workers=workers)
    first = loader.epoch(0)
    batches = [next(first)]
    with pytest.raises(RuntimeError, match="from an earlier run of these workers"):
        next(loader.epoch(1))
    batches += first  # the first one goes on
    assert_same(batches, epoch_of(samples, 0))
    assert_same(list(loader.epoch(1)), epoch_of(samples, 1))
    loader.close()


def test_batches_stay_as_they_are_when_the_next_comes(samples):
    loader = TrainLoader(samples, batch_size=2, workers=2)
    batches, kept = [], []
    for batch in loader.epoch(0):
        batches.append(batch)
        kept.append(batch.images.copy())
    loader.close()
    assert len(batches) == 12
    for batch, images in zip(batches, kept):
        np.testing.assert_array_equal(batch.images, images)


@pytest.mark.parametrize(("workers", "ranks"), [(0, 1), (2, 1), (0, 3), (1, 4)])
def test_evaluation_sees_every_image_once(small, workers, ranks):
    annotations = build_annotations(small, training=False)
    samples = EvalSamples(annotations, sizes=[(64, 64)], keep_aspect=False)
    seen = []
    for rank in range(ranks):
        batches = list(eval_batches(samples, batch_size=4, workers=workers, rank=rank, ranks=ranks))
        if ranks == 1:
            assert [len(b.images[0]) for b in batches] == [4, 4, 2]
        for batch in batches:
            assert len(batch.images[0]) == len(batch.image_ids) == len(batch.scales)
            np.testing.assert_allclose(batch.sizes * batch.scales[:, 0], 64, rtol=1e-6)
            assert batch.readable.all()
            seen += batch.image_ids.tolist()
    assert sorted(seen) == annotations.image_ids.tolist()


def test_fewer_images_than_a_batch(samples):
    with pytest.raises(InputError, match="24 images are fewer than a batch of 25"):
        steps_per_epoch(samples.annotations, 25)
