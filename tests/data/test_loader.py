import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import psutil
import pytest

from src.data.augmentation.presets import Augmentation
from src.data.dataset import build_annotations
from src.data.loader import (
    EvalSamples,
    TrainLoader,
    TrainSamples,
    eval_batches,
    steps_per_epoch,
)
from src.data.problems import Unreadable
from src.data.synthetic import write_dataset
from src.data.workers import Prefetcher
from src.detection.anchors import build_anchors
from src.detection.assign import MaxIoUAssigner
from src.runtime.errors import InputError, RunError
from tests.conftest import REPOSITORY

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


@pytest.fixture
def samples(small):
    return make_samples(small)


@pytest.fixture
def own_samples(small, tmp_path):
    """Samples of a data set that a test may spoil."""
    write_dataset(tmp_path / "own", train=24, val=1, seed=3)
    return make_samples(small.replace(coco_root=str(tmp_path / "own")))


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


MOSAIC = {"preset": "flip", "mosaic": 0.5, "hue": 0.1, "vertical_flip": 0.5, "quarter_turn": 0.5}


def test_mosaics_do_not_depend_on_workers_ranks_or_where_the_epoch_starts(small):
    samples = make_samples(small, **MOSAIC)
    assert samples.layout(2)["boxes"][0] == (2, 4 * samples.annotations.max_objects(), 4)
    whole = epoch_of(samples, 1, batch_size=4)
    assert_same(whole, epoch_of(samples, 1, batch_size=4, workers=2))
    assert_same(whole[2:4], epoch_of(samples, 1, batch_size=4, first=2, stop=4))
    parts = [epoch_of(samples, 1, batch_size=2, rank=rank, ranks=2) for rank in range(2)]
    for step, batch in enumerate(whole):
        joined = np.concatenate([part[step].images for part in parts])
        np.testing.assert_array_equal(joined, batch.images)
    assert_same(whole[:1], epoch_of(samples, 1, batch_size=4, stop=1))
    other = epoch_of(samples, 2, batch_size=4)
    assert (whole[0].images != other[0].images).any()


def test_mosaics_are_as_many_as_the_probability_says(small):
    objects = {}
    for mosaic in (0.0, 0.5, 1.0):
        samples = make_samples(small, preset="none", mosaic=mosaic)
        counts = [len(samples.sample(0, index, [])[1].boxes) for index in range(24)]
        objects[mosaic] = np.array(counts)
    changed = objects[0.5] != objects[0.0]
    assert 4 < changed.sum() < 20
    assert objects[1.0].sum() > 2 * objects[0.0].sum()


def test_unreadable_part_of_a_mosaic_is_replaced_and_listed(own_samples):
    own_samples.annotations[4].path.write_text("not an image")
    samples = replace(own_samples, augmentation=Augmentation("none", mosaic=1.0))
    one = epoch_of(samples, 0, batch_size=6)
    assert_same(one, epoch_of(samples, 0, batch_size=6, workers=2))
    unread = [index for batch in one for index, _ in batch.unread]
    assert set(unread) == {4}
    assert len(unread) > 1  # as an image of its own, and as a part of others


def test_repeats_lengthen_the_epoch_the_same_way_each_time(samples):
    plain = steps_per_epoch(samples.annotations, 4)
    more = replace(samples, repeat_threshold=1.0)
    length = len(more.order(0))
    assert length > 24
    assert steps_per_epoch(samples.annotations, 4, repeat_threshold=1.0) == length // 4 > plain
    whole = epoch_of(more, 1, batch_size=4)
    assert len(whole) == length // 4
    assert_same(whole, epoch_of(more, 1, batch_size=4, workers=2))
    assert_same(whole[3:], epoch_of(more, 1, batch_size=4, first=3))
    parts = [epoch_of(more, 1, batch_size=2, rank=rank, ranks=2) for rank in range(2)]
    joined = np.concatenate([part[0].image_ids for part in parts])
    assert joined.tolist() == whole[0].image_ids.tolist()
    assert more.order(0).tolist() != more.order(1).tolist()


def test_repeats_count_where_images_are_fewer_than_a_batch(samples):
    length = len(replace(samples, repeat_threshold=1.0).order(0))
    assert steps_per_epoch(samples.annotations, length, repeat_threshold=1.0) == 1


def test_fewer_images_than_a_batch(samples):
    with pytest.raises(InputError, match="24 images are fewer than a batch of 25"):
        steps_per_epoch(samples.annotations, 25)


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


class Work:
    """Work for a Prefetcher: fills in the task's number, and fails at some."""

    def __init__(self, table, fail_at=(), die_at=()):
        self.table = table
        self.fail_at = fail_at
        self.die_at = die_at

    def __call__(self, number, arrays):
        time.sleep(0.01)  # so that one worker alone is not fast enough
        if number in self.fail_at:
            raise KeyError(f"task {number}")
        if number in self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        arrays["value"][:] = self.table[number]
        return os.getpid(), self.table.flags.writeable


LAYOUT = {"value": ((3,), np.int64)}


def test_workers_share_read_only_arrays():
    prefetcher = Prefetcher(Work(np.arange(100) ** 2), LAYOUT, workers=2)
    results = list(prefetcher.run(range(100)))
    prefetcher.close()
    assert [int(arrays["value"][0]) for arrays, _ in results] == [n**2 for n in range(100)]
    assert {writeable for _, (_, writeable) in results} == {False}
    processes = {pid for _, (pid, _) in results}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert not any(psutil.pid_exists(pid) for pid in processes)


def test_error_in_a_worker_comes_with_its_traceback():
    prefetcher = Prefetcher(Work(np.arange(9), fail_at=[3]), LAYOUT, workers=2)
    found = []
    with pytest.raises(KeyError, match="task 3") as error:
        for arrays, _ in prefetcher.run(range(9)):
            found.append(arrays["value"][0])  # noqa: PERF402
    assert found == [0, 1, 2]
    assert 'raise KeyError(f"task {number}")' in str(error.value.__cause__)
    # the pool goes on
    assert len(list(prefetcher.run([1, 2]))) == 2
    prefetcher.close()


def test_killed_worker_ends_the_run():
    prefetcher = Prefetcher(Work(np.arange(9), die_at=[2]), LAYOUT, workers=2)
    with pytest.raises(RunError, match="died without an error.*--num_workers"):
        list(prefetcher.run(range(9)))
    prefetcher.close()


def test_worker_killed_while_the_run_is_left_early():
    prefetcher = Prefetcher(Work(np.arange(99), die_at=[1, 2]), LAYOUT, workers=1)
    batches = prefetcher.run(range(99))
    next(batches)

    def leave():
        batches.close()
        prefetcher.close()

    # in a thread, so that a deadlock is a failure and not a test that never ends
    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(timeout=20)
    assert not leaving.is_alive()


CONSUMER = """
import signal, time
import numpy as np
from src.data.workers import Prefetcher

class Slow:
    def __call__(self, number, arrays):
        time.sleep(0.05)

if __name__ == "__main__":
    # what a terminal gives; a shell's background job would start with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prefetcher = Prefetcher(Slow(), {"value": ((3,), np.int64)}, workers=3)
    try:
        for number, _ in enumerate(prefetcher.run(range(10000))):
            if number == 20:
                print("working", flush=True)
    finally:
        prefetcher.close()
"""


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_run(tmp_path, way):
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the signal reaches the group, like Ctrl-C's
    )
    assert process.stdout.readline() == "working\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4  # the workers and the process they are forked from
    if way == signal.SIGINT:
        os.killpg(process.pid, way)
    else:
        process.send_signal(way)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    if way == signal.SIGINT:
        assert errors == "\nSIGINT: exiting at once\n"  # the workers are silent
