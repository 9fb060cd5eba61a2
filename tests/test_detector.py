"""The detector as a library, from a checkpoint and from exported files."""

import cv2
import numpy as np
import pytest

from src.config import make_config, read_recipe
from src.data.dataset import build_annotations
from src.deploy import DeployedDetector, export
from src.detection.anchors import build_anchors
from src.detector import Detector, described
from src.errors import InputError
from src.evaluation.detect import detect_with
from src.formats import description_path, write_description
from src.inference import load_network
from src.models.ssd import build_ssd
from src.training.checkpoint import write_checkpoint
from tests.conftest import DEMO_RECIPE, small_keys
from tests.networks import excite

LOW = 0.3  # a score that some hundreds of predictions of the excited network reach


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    """A configuration with a checkpoint that finds all kinds of things, and exported files."""
    folder = tmp_path_factory.mktemp("detector")
    cfg = make_config([(read_recipe(str(DEMO_RECIPE)), "demo"), (small_keys(shapes, folder), "")])
    path = folder / "run" / "ckpt" / "last.ckpt"
    network, anchors = build_ssd(cfg, build_anchors(cfg).boxes_per_cell), build_anchors(cfg)
    excite(network)
    write_checkpoint(path, network.parameters_dict(), cfg.to_yaml(), {"epoch": 1, "step": 6})
    cfg = cfg.replace(checkpoint_path=str(path), score_threshold=LOW, eval_batch_size=1)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    boxes = anchors.boxes(cfg.image_size)
    for file_format in ("MINDIR", "ONNX"):
        path = folder / f"detector.{file_format.lower()}"
        export(DeployedDetector(network, boxes, cfg.image_size), images, path, file_format)
        write_description(cfg, path, 1)
    return cfg, folder


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
    from_checkpoint = Detector.load(cfg.checkpoint_path, score_threshold=LOW)(image)
    # thresholds come from beside the file
    exported = Detector.load(folder / f"detector.{file_format}", eval_batch_size=3)
    found = exported(image)
    np.testing.assert_allclose(found.scores, from_checkpoint.scores, atol=1e-4)
    # scores that all but tie may come in another order
    mine, expected = (
        sorted(zip(objects.names, objects.boxes.round(1).tolist()))
        for objects in (found, from_checkpoint)
    )
    assert [name for name, _ in mine] == [name for name, _ in expected]
    np.testing.assert_allclose([b for _, b in mine], [b for _, b in expected], atol=0.11)
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
    with pytest.raises(InputError, match="2 images at once; the detector takes 1"):
        detector.detect([np.zeros((5, 5, 3), np.uint8)] * 2)


def test_bad_files(trained, tmp_path):
    cfg, folder = trained
    with pytest.raises(InputError, match="no such file"):
        Detector.load(tmp_path / "none.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint" * 20)
    with pytest.raises(InputError, match="not a MindSpore checkpoint"):
        Detector.load(tmp_path / "bad.ckpt")
    lonely = tmp_path / "lonely.onnx"
    lonely.write_bytes((folder / "detector.onnx").read_bytes())
    with pytest.raises(InputError, match=r"lonely\.onnx\.yaml: cannot be read"):
        Detector.load(lonely)
    for text, words in (("[1, 2]", "key: value"), ("a: [", "not YAML"), ("batch: 1\nx: 2", "'x'")):
        description_path(lonely).write_text(text)
        with pytest.raises(InputError, match=words):
            Detector.load(lonely)
    with pytest.raises(InputError, match="unknown key 'score'"):
        Detector.load(cfg.checkpoint_path, score=0.5)
    with pytest.raises(InputError, match="tta_scales needs a checkpoint"):
        Detector.load(folder / "detector.onnx", tta_scales=[1.0, 2.0])
    with pytest.raises(InputError, match="was exported with classes"):
        Detector.load(folder / "detector.onnx", classes=["background", "a", "b", "c", "d"])
    with pytest.raises(InputError, match=r"was exported with image_size \[64, 64\]"):
        Detector.load(folder / "detector.onnx", image_size=[96, 96])
    with pytest.raises(InputError, match="a list; expected an array"):
        Detector.load(cfg.checkpoint_path)([1, 2])
    assert Detector.load(cfg.checkpoint_path).detect([]) == []
    with pytest.raises(InputError, match="not an image"):
        Detector.load(cfg.checkpoint_path)(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("file_format", ["mindir", "onnx"])
def test_a_description_that_is_not_of_the_file(trained, tmp_path, file_format):
    _, folder = trained
    path = tmp_path / f"detector.{file_format}"
    path.write_bytes((folder / path.name).read_bytes())
    text = description_path(folder / path.name).read_text()
    for old, new, words in (
        ("batch: 1", "batch: 0", "batch is 0; expected int >= 1"),
        ("batch: 1", "batch: x", "batch is 'x'"),
        ("image_size: [64, 64]", "image_size: [96, 96]", r"does not take images \(1, 96, 96, 3\)"),
        ("triangle, ", "", "knows 4 classes, but its description names 3"),
    ):
        assert old in text
        description_path(path).write_text(text.replace(old, new))
        with pytest.raises(InputError, match=words):
            Detector.load(path)


def test_what_a_checkpoint_says_is_its_detector_not_its_machine(trained):
    cfg, _ = trained
    says = described(cfg.checkpoint_path)
    assert says["classes"] == list(cfg.classes)
    assert says["backbone"] == "resnet18"
    assert "device_target" not in says
    assert "coco_root" not in says


def test_a_picture_of_the_file_and_its_array_are_one(trained, tmp_path):
    cfg, _ = trained
    detector = Detector.load(cfg.checkpoint_path, score_threshold=LOW)
    image = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    np.testing.assert_array_equal(detector(tmp_path / "a.png").boxes, detector(image).boxes)
