"""Images that cannot be read: replaced or blank, counted, and an error where they are many."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from src.data.augmentation.presets import Augmentation
from src.data.eval_loader import EvalSamples, eval_batches
from src.data.problems import Unreadable
from src.data.synthetic import write_dataset
from src.runtime.errors import InputError
from tests.data.batches import assert_same, epoch_of, make_samples


@pytest.fixture
def own_samples(small, tmp_path):
    """Samples of a data set that a test may spoil."""
    write_dataset(tmp_path / "own", train=24, val=1, seed=3)
    return make_samples(small.replace(coco_root=str(tmp_path / "own")))


def test_unreadable_image_is_replaced_the_same_way_each_time(own_samples):
    annotations = own_samples.annotations
    record = annotations[4]
    record.path.write_text("not an image")
    one = epoch_of(own_samples, 0, batch_size=6)
    assert_same(one, epoch_of(own_samples, 0, batch_size=6, workers=2))
    ids = [i for batch in one for i in batch.image_ids.tolist()]
    assert len(ids) == 24
    assert record.image_id not in ids
    (unread,) = [pair for batch in one for pair in batch.unread]
    assert unread[0] == 4
    assert record.path.name in unread[1]


def test_image_of_another_size_than_annotated_is_not_used(own_samples):
    record = own_samples.annotations[4]
    resized = np.zeros((record.height + 8, record.width, 3), np.uint8)
    cv2.imwrite(str(record.path), resized)
    with pytest.raises(InputError, match=rf"{record.path.name}: is .* but its annotations"):
        record.read()
    messages = [m for b in epoch_of(own_samples, 0, batch_size=24) for _, m in b.unread]
    assert len(messages) == 1
    assert "was it resized or rotated?" in messages[0]


def test_no_image_can_be_read(own_samples):
    for record in own_samples.annotations:
        record.path.unlink()
    with pytest.raises(InputError, match="too many unreadable images"):
        epoch_of(own_samples, 0)


def test_unreadable_image_is_blank_in_evaluation(own_samples):
    annotations = own_samples.annotations
    annotations[2].path.write_bytes(b"")
    samples = EvalSamples(annotations, sizes=[(64, 64)], keep_aspect=True)
    batch = next(eval_batches(samples, batch_size=4, workers=0))
    assert batch.readable.tolist() == [True, True, False, True]
    assert "is empty (0 bytes)" in batch.unread[0][1]


def test_unreadable_part_of_a_mosaic_is_replaced_and_listed(own_samples):
    own_samples.annotations[4].path.write_text("not an image")
    samples = replace(own_samples, augmentation=Augmentation("none", mosaic=1.0))
    one = epoch_of(samples, 0, batch_size=6)
    assert_same(one, epoch_of(samples, 0, batch_size=6, workers=2))
    unread = [index for batch in one for index, _ in batch.unread]
    assert set(unread) == {4}
    assert len(unread) > 1  # as an image of its own, and as a part of others


def test_unreadable_images_are_compared_with_those_met():
    found = Unreadable("split.json", 10000)
    found.met = 2000
    found.add((index, "damaged") for index in range(32))  # 20, and 12 that chance may bring
    found.check()
    found.add([(32, "damaged")])
    with pytest.raises(InputError, match=r"33 of 2,000 images unreadable(.|\n)*of those met"):
        found.check()
    found.met = 10000
    found.check()


@pytest.mark.parametrize(("images", "allowed"), [(10000, 5), (300, 3), (99, 0)])
def test_first_batches_may_have_a_few_unreadable_images(images, allowed):
    found = Unreadable("split.json", images)
    found.met = 8
    found.add((index, "damaged") for index in range(allowed))
    found.check()
    found.add([(allowed, "damaged")])
    with pytest.raises(InputError):
        found.check()


def test_images_are_met_once_however_many_epochs():
    found = Unreadable("split.json", 300)
    found.met = 1000
    found.add((index, "damaged") for index in range(3))
    found.check()
    found.add([(3, "damaged")])
    with pytest.raises(InputError, match="4 of 300 images"):
        found.check()


def test_more_than_one_percent_unreadable_is_an_error():
    found = Unreadable("split.json", 300)
    found.add([(7, "a.jpg: damaged"), (8, "b.jpg: damaged")])
    found.add([(7, "a.jpg: damaged"), (9, "c.jpg: damaged")])  # the first once more
    found.check()
    assert str(found).startswith("split.json: 3 of 300 images unreadable")
    found.add([(10, "d.jpg: damaged")])
    with pytest.raises(InputError, match=r"4 of 300 images(.|\n)*d.jpg(.|\n)*more than 1%"):
        found.check()
