import threading

import cv2
import numpy as np
import pytest

from src.data.annotations import build_annotations
from src.data.loader import TrainSamples, eval_batches, in_threads, read_image, train_batches
from src.data.synthetic import write_split
from src.detection.anchors import build_anchors
from src.detection.assign import Assigner
from src.errors import InputError


@pytest.fixture
def samples(small):
    anchors = build_anchors(small).boxes(small.image_size)
    return TrainSamples(
        build_annotations(small, "train2017"),
        image_size=small.image_size,
        preset="ssd",
        assigner=Assigner(anchors, positive_iou=0.5),
        seed=11,
    )


def epoch_of(samples, epoch, workers, limit=100):
    return list(train_batches(samples, batch_size=5, epoch=epoch, workers=workers, limit=limit))


def test_batches_have_the_documented_shapes(samples):
    batches = epoch_of(samples, 0, workers=0)
    assert len(batches) == 4  # 24 images: the incomplete batch is left out
    batch = batches[0]
    anchors, objects = len(samples.assigner.area), samples.annotations.max_objects()
    assert batch.images.shape == (5, 64, 64, 3)
    assert batch.images.dtype == np.uint8
    assert batch.assigned.shape == (5, anchors)
    assert batch.boxes.shape == (5, objects, 4)
    assert batch.labels.shape == (5, objects)
    assert (batch.boxes[..., 2:] > batch.boxes[..., :2]).all()
    ids = np.concatenate([b.image_ids for b in batches])
    assert len(set(ids.tolist())) == 20


def test_assigned_boxes_belong_to_the_image(samples):
    for batch in epoch_of(samples, 0, workers=0):
        for index in range(5):
            used = batch.assigned[index].max()
            padding = (batch.boxes[index] == [0, 0, 1, 1]).all(axis=1)
            assert not padding[: used + 1].any()


@pytest.mark.parametrize("workers", [1, 3])
def test_number_of_workers_changes_nothing(samples, workers):
    for one, other in zip(epoch_of(samples, 2, 0), epoch_of(samples, 2, workers)):
        for field in ("images", "assigned", "boxes", "labels", "image_ids"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_epochs_differ_in_order_and_draws(samples):
    first, second = epoch_of(samples, 0, 0), epoch_of(samples, 1, 0)
    assert first[0].image_ids.tolist() != second[0].image_ids.tolist()
    one, other = (samples.batch(epoch, np.array([3])).images for epoch in (0, 1))
    assert (one != other).any()


def test_limit_on_batches(samples):
    assert len(epoch_of(samples, 0, workers=2, limit=2)) == 2


def test_evaluation_sees_every_image_once(small):
    annotations = build_annotations(small, "val2017")
    batches = list(eval_batches(annotations, image_size=(64, 64), batch_size=4, workers=2))
    assert [len(b.images) for b in batches] == [4, 4, 2]
    ids = np.concatenate([b.image_ids for b in batches])
    np.testing.assert_array_equal(ids, annotations.image_ids)
    np.testing.assert_array_equal(np.concatenate([b.sizes for b in batches]), annotations.sizes)


def test_error_in_a_worker_reaches_the_caller_and_ends_the_threads():
    def make(number):
        if number == 3:
            raise InputError("third.jpg")
        return number

    before = threading.active_count()
    found = []
    with pytest.raises(InputError, match="third.jpg"):
        for item in in_threads(make, range(10), workers=2):
            found.append(item)  # noqa: PERF402
    assert found == [0, 1, 2]
    assert threading.active_count() == before


def test_threads_end_when_the_caller_stops_early():
    before = threading.active_count()
    items = in_threads(lambda n: n, range(1000), workers=2)
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before


def test_read_image_is_rgb(tmp_path):
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[..., 2] = 200  # red, in OpenCV's order
    cv2.imwrite(str(tmp_path / "red.png"), pixels)
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [200, 0, 0]


def test_images_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    for name in ("empty.jpg", "text.jpg", "missing.jpg"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


def test_all_workers_work():
    meeting = threading.Barrier(9, timeout=20)
    # would time out if fewer than nine items were under way at once
    assert list(in_threads(lambda n: meeting.wait() >= 0, range(9), workers=9)) == [True] * 9


def test_image_of_another_size_than_annotated(samples, small, shapes):
    record = samples.annotations[4]
    resized = np.zeros((record.height + 8, record.width, 3), np.uint8)
    cv2.imwrite(str(record.path), resized)
    try:
        with pytest.raises(InputError, match=rf"{record.path.name}: is .* but its annotations"):
            samples.batch(0, np.array([4]))
    finally:
        redraw(shapes)


def redraw(root):
    """Draws the shared data set's training images again."""
    (root / "annotations" / "instances_train2017.json").unlink()
    write_split(root, "train2017", range(24), 3)
