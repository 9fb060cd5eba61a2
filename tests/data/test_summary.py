import numpy as np
import pytest

from src.data.dataset import build_annotations
from src.data.page.samples import sample_order
from src.data.readers.txt_reader import read_txt
from src.data.summary import build_summary, summarise
from src.detection.anchors import AnchorGenerator, build_anchors
from src.detection.assign import ATSSAssigner, MaxIoUAssigner
from tests.references import slow_iou

CLASSES = ("background", "cat", "dog", "cow")


@pytest.fixture
def split(tmp_path, monkeypatch):
    """Two images of 100 x 50 with four cats and a dog, and one without objects."""
    monkeypatch.setattr("src.data.readers.txt_reader.read_size", lambda _: (100, 50))
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).touch()
    (tmp_path / "boxes.txt").write_text(
        "a.png 0,0,20,10,1 0,0,40,20,1 10,10,12,11,1\nb.png 50,0,90,20,2 0,0,100,50,1\nc.png\n"
    )
    return read_txt(tmp_path / "boxes.txt", tmp_path, CLASSES)[0]


ANCHORS = AnchorGenerator(strides=(16, 32), sides=[[(20, 20)], [(40, 40)]])


def summary_of(split, *, image_size=(100, 100), positive_iou=0.5, **changes):
    assigner = MaxIoUAssigner(ANCHORS.boxes(image_size), positive_iou=positive_iou)
    options = {"keep_aspect": False, "assigner": assigner, **changes}
    return summarise(split, CLASSES[1:], ANCHORS, image_size=image_size, **options)


def test_objects_are_counted_and_measured_at_the_size_of_the_input(split):
    summary = summary_of(split)
    assert summary.object_counts.tolist() == [4, 1, 0]
    assert summary.image_counts.tolist() == [2, 1, 0]
    # 20 x 10 becomes 20 x 20, 2 x 1 becomes 2 x 2
    np.testing.assert_allclose(summary.sides, [20, 40, 2, 40, 100])
    assert summary.anchor_sides.tolist() == [20, 40]


def test_letterbox_scales_both_sides_alike(split):
    summary = summary_of(split, keep_aspect=True, image_size=(50, 200))
    np.testing.assert_allclose(summary.sides[0], np.sqrt(20 * 10))


def test_objects_that_no_anchor_can_match(split):
    summary = summary_of(split)
    # the small one and the one that fills the image
    assert summary.unmatched[[2, 4]].tolist() == [True, True]
    line = summary.match_line()
    count = int(summary.unmatched.sum())
    assert line.startswith(f"{count / 5:.1%} of 5 objects match no anchor at IoU 0.5; each still ")
    assert "the anchors' are 20 to 40: consider another anchor_size" in line
    fitting = summary_of(split, positive_iou=0.0001).match_line()
    assert fitting == "0.0% of 5 objects match no anchor at IoU 0.0001"


def test_anchors_are_counted_where_no_fixed_iou_decides(split):
    assigner = ATSSAssigner(ANCHORS, (100, 100), candidates=9)
    summary = summary_of(split, assigner=assigner)
    # the boxes of both images at 100 x 100, by hand
    first = [[0, 0, 20, 20], [0, 0, 40, 40], [10, 20, 12, 22]]
    second = [[50, 0, 90, 40], [0, 0, 100, 100]]
    learnt = [np.array(boxes, np.float32) for boxes in (first, second)]
    counts = [assigner.anchor_counts(boxes, np.zeros(len(boxes), bool)) for boxes in learnt]
    assert summary.anchor_counts.tolist() == np.concatenate(counts).tolist()
    mean = summary.anchor_counts.mean()
    line = "20.0% of 5 objects get no anchor of IoU 0.02 or more; normal below 5%; on average an "
    expected = f"{line}object gets {mean:.1f}. Their median side is 2 pixels, "
    assert summary.match_line().startswith(expected)
    assert summary.unmatched.tolist() == [False, False, True, False, False]  # 2 x 2 in 20 x 20
    sampled = summary_of(split, assigner=assigner, assigned_images=1).match_line()
    assert sampled.startswith("33.3% of 3 objects get no anchor of IoU 0.02 or more; normal below")
    assert ", in a sample of all 5. " in sampled


def test_objects_that_get_no_anchor_are_many(split):
    small = AnchorGenerator(strides=(100, 100), sides=[[(20, 20)], [(20, 20)]])
    assigner = ATSSAssigner(small, (100, 100), candidates=9)
    summary = summarise(
        split, CLASSES[1:], small, image_size=(100, 100), keep_aspect=False, assigner=assigner
    )
    # each image has two anchors, both at (50, 50)
    assert summary.unmatched.tolist() == [True, True, True, True, False]
    assert summary.table().splitlines()[2].split()[-1] == "3"
    assert summary.match_line().startswith("80.0% of 5 objects get no anchor of IoU 0.02 or more")
    assert "the anchors' are 20 to 20: consider another anchor_size" in summary.match_line()


def test_table_lists_every_class(split):
    lines = summary_of(split).table().splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["cat", "dog", "cow"]
    assert lines[2].split()[1:6] == ["4", "2", "2", "30", "100"]
    assert lines[4].split() == ["cow", "0", "0", "-", "-", "-", "0"]


def test_crowd_regions_are_no_objects(small):
    annotations = build_annotations(small, training=True)
    summary = build_summary(small, annotations, build_anchors(small))
    assert annotations.crowd.sum() == 1
    assert summary.object_counts.sum() == len(annotations.boxes) - 1 == len(summary.sides)


def test_best_ious_are_those_of_all_anchors(small):
    anchors = build_anchors(small)
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-10, 74, (60, 2, 2)), axis=1)
    boxes = np.concatenate([corners[:, 0], corners[:, 1]], axis=1).astype(np.float32)
    found = anchors.best_ious(boxes, small.image_size)
    everything = anchors.boxes(small.image_size)
    for box, value in zip(boxes, found):
        expected = max(slow_iou(box.tolist(), anchor) for anchor in everything.tolist())
        assert value == pytest.approx(expected, abs=1e-5)


def test_a_split_without_objects(split):
    empty = split.take(np.array([2]))
    assert summary_of(empty).match_line() == "no objects"


def test_every_second_sample_has_a_rare_class(split):
    order = sample_order(summary_of(split))
    assert sorted(order) == [0, 1, 2]
    assert 1 in order[:2]  # the image with the only dog
