"""The detector as a library, from a checkpoint and from exported files."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from src.data.dataset import build_annotations
from src.deploy.compare import equal_indices
from src.detection.anchors import build_anchors
from src.evaluation.coco_metric import evaluate
from src.evaluation.detect import detect_with
from src.models.ssd import build_ssd
from src.prediction.detector import Detector
from src.prediction.network_model import load_network
from src.prediction.objects import Objects
from src.prediction.recorded import detector_config
from src.runtime.errors import InputError
from src.training.checkpoints import write_checkpoint
from tests.prediction.conftest import LOW

pytestmark = pytest.mark.usefixtures("narrow", "shared_networks")


def test_a_checkpoint_finds_what_the_evaluation_finds(trained):
    cfg, _ = trained
    annotations = build_annotations(cfg, training=False)
    rows = detect_with(load_network(cfg), cfg, annotations).rows
    detector = Detector.load(cfg.checkpoint_path, score_threshold=LOW)
    assert detector.names == cfg.classes[1:]
    for record in (annotations[0], annotations[3]):
        boxes, scores, names = detector(record.path)
        own = rows[rows[:, 0] == record.image_id]
        assert len(own) == len(boxes) == len(scores) == len(names) > 0
        np.testing.assert_allclose(boxes[:, :2], own[:, 1:3], atol=1e-2)
        np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], own[:, 3:5], atol=1e-2)
        np.testing.assert_allclose(scores, own[:, 5], atol=1e-5)
        labels = [annotations.category_ids.index(int(c)) for c in own[:, 6]]
        assert names == [cfg.classes[1 + label] for label in labels]


@pytest.mark.parametrize("file_format", ["mindir", "onnx"])
def test_an_exported_file_finds_the_same(trained, file_format):
    cfg, folder = trained
    image = build_annotations(cfg, training=False)[1].read()
    (expected,) = Detector.load(cfg.checkpoint_path, score_threshold=LOW).detect([image])
    # thresholds come with the file
    exported = Detector.load(folder / f"detector.{file_format}", eval_batch_size=3)
    (found,) = exported.detect([image])
    assert len(found.scores) == len(expected.scores) > 10
    assert (equal_indices(found, expected) >= 0).all()
    assert (equal_indices(expected, found) >= 0).all()
    assert exported(image).names == [cfg.classes[1 + label] for label in found.labels]
    # several images, through a file that takes one at a time
    first, second, third = exported.detect([image, image[::-1].copy(), image])
    np.testing.assert_array_equal(first.boxes, third.boxes)
    assert not np.array_equal(first.boxes, second.boxes)


def test_images_of_any_size_and_none_of_another_kind(trained):
    cfg, _ = trained
    detector = Detector.load(cfg.checkpoint_path, score_threshold=LOW)
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 3), (300, 20, 3), (17, 640, 3)):
        boxes, scores, names = detector(rng.integers(0, 256, shape, dtype=np.uint8))
        assert len(boxes) == len(scores) == len(names)
        assert (boxes >= 0).all()
        assert (boxes[:, [0, 2]] <= shape[1]).all()
        assert (boxes[:, [1, 3]] <= shape[0]).all()
    for wrong in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(InputError, match=r"expected uint8 \(H,W,3\)"):
            detector(wrong)
    assert len(detector.detect([np.zeros((5, 5, 3), np.uint8)] * 2)) == 2


def test_several_images_by_batches(trained, tmp_path):
    """Files and arrays mixed, five in batches of two, as each alone."""
    _, folder = trained
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (50 + 10 * n, 70, 3), dtype=np.uint8) for n in range(5)]
    cv2.imwrite(str(tmp_path / "a.png"), images[1][..., ::-1])
    detector = Detector.load(folder / "detector.onnx", eval_batch_size=2)
    mixed = [images[0], tmp_path / "a.png", *images[2:]]
    found = detector(mixed)
    assert [len(objects.scores) > 10 for objects in found] == [True] * 5
    for objects, image in zip(found, images):
        alone = detector(image)
        np.testing.assert_allclose(objects.boxes, alone.boxes, atol=1e-3)
        assert objects.names == alone.names == [detector.names[n] for n in alone.labels]
    assert len(detector(iter(mixed))) == 5
    assert detector([]) == []
    with pytest.raises(
        InputError, match=r"images\[2\] is uint8 \(5, 5\); expected uint8 \(H,W,3\)"
    ):
        detector([images[0], images[1], np.zeros((5, 5), np.uint8)])


@pytest.mark.parametrize("name", ["detector.mindir", "detector.onnx"])
def test_tiles_of_an_image_through_an_exported_file(trained, name):
    cfg, folder = trained
    image = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    keys = {"tiles": 64, "tile_overlap": 0.3, "eval_batch_size": 3}
    detector = Detector.load(cfg.checkpoint_path, score_threshold=LOW, **keys)
    assert detector.views(image) == 1 + 2 * 3
    (expected,) = detector.detect([image])
    (found,) = Detector.load(folder / name, **keys).detect([image])
    assert len(expected.scores) == cfg.max_detections
    # a file with suppression has suppressed in each tile before all of them are merged
    least = 1.0 if name == "detector.mindir" else 0.9
    assert (equal_indices(found, expected) >= 0).mean() >= least
    small = Detector.load(folder / name, tiles=150).detect([image])[0]
    plain = Detector.load(folder / name).detect([image])[0]
    np.testing.assert_array_equal(small.boxes, plain.boxes)


def test_objects_of_some_classes(trained):
    cfg, folder = trained
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    everything = Detector.load(cfg.checkpoint_path, score_threshold=LOW)(image)
    wanted = [row for row, name in enumerate(everything.names) if name in ("cross", "ellipse")]
    assert 0 < len(wanted) < len(everything.names)
    some = Detector.load(cfg.checkpoint_path, score_threshold=LOW, classes=["cross", "ellipse"])
    assert some.names == cfg.classes[1:]  # so labels mean the same
    np.testing.assert_array_equal(some(image).boxes, everything.boxes[wanted])
    np.testing.assert_array_equal(some(image).labels, everything.labels[wanted])
    assert set(some(image, classes=["triangle"]).names) == {"triangle"}
    assert set(some([image], classes=["triangle"])[0].names) == {"triangle"}
    with pytest.raises(InputError, match="no class 'Elipse'; did you mean 'ellipse'"):
        some(image, classes=["Elipse"])
    with pytest.raises(InputError, match=r"classes is 'cross'; expected a list, such as \['cross'"):
        Detector.load(folder / "detector.onnx", classes="cross")
    with pytest.raises(InputError, match="classes names none"):
        some(image, classes=[])


def test_objects_as_supervision_has_them(monkeypatch):
    boxes, scores = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32), np.array([0.9, 0.5])
    objects = Objects(boxes, scores, ["cat", "dog"], np.array([4, 7]))
    monkeypatch.setitem(sys.modules, "supervision", None)  # as if it were not installed
    with pytest.raises(InputError, match="not installed: pip install supervision"):
        objects.to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    given = objects.to_supervision()
    assert given.xyxy is boxes and given.confidence is scores
    assert given.class_id.tolist() == [4, 7]
    assert given.data["class_name"].tolist() == ["cat", "dog"]


def test_options_of_the_network_come_with_the_checkpoint(trained, tmp_path):
    cfg, _ = trained
    options = {"head_norm": "group", "level_scale": True, "p6_from": "c5", "fpn_norm": "none"}
    cfg = cfg.replace(**options)
    network, path = build_ssd(cfg, build_anchors(cfg).anchors_per_cell), tmp_path / "a.ckpt"
    write_checkpoint(path, network.parameters_dict(), cfg.to_yaml(), {"epoch": 1, "step": 6})
    loaded = Detector.load(path).inference.model.network.parameters_dict()
    assert loaded.keys() == network.parameters_dict().keys()
    assert "box_head.scales" in loaded


def found_as_truth(annotations, rows):
    """The split with the detections as its objects."""
    counts = [int((rows[:, 0] == image_id).sum()) for image_id in annotations.image_ids]
    corners = np.concatenate([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:5]], axis=1)
    return replace(
        annotations,
        truth=None,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=corners.astype(np.float32),
        labels=np.searchsorted(annotations.category_ids, rows[:, 6]).astype(np.int32),
        crowd=np.zeros(len(rows), bool),
    )


@pytest.mark.parametrize("file_format", ["mindir", "onnx"])
def test_an_exported_file_scores_the_same(trained, file_format):
    """With the network's own detections as ground truth, the file must score 1."""
    cfg, folder = trained
    annotations = build_annotations(cfg, training=False)
    own = detect_with(load_network(cfg), cfg, annotations).rows
    exported = cfg.replace(model=str(folder / f"detector.{file_format}"), checkpoint_path="")
    rows = detect_with(None, exported, annotations).rows
    assert len(rows) == len(own) > 200
    wanted = found_as_truth(annotations, own)
    assert evaluate(wanted, cfg.classes, own).overall["AP"] == pytest.approx(1)
    assert evaluate(wanted, cfg.classes, rows).overall["AP"] == pytest.approx(1, abs=1e-3)


def test_a_checkpoint_describes_its_detector_but_not_its_machine(trained):
    cfg, _ = trained
    says = detector_config(cfg.checkpoint_path)
    assert says["classes"] == list(cfg.classes)
    assert says["backbone"] == "resnet18"
    assert "device_target" not in says
    assert "coco_root" not in says


def test_an_image_file_and_its_array_give_the_same(trained, tmp_path):
    cfg, _ = trained
    detector = Detector.load(cfg.checkpoint_path, score_threshold=LOW)
    image = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    np.testing.assert_array_equal(detector(tmp_path / "a.png").boxes, detector(image).boxes)
