"""A detector whose images are resized to a short side, on the canvas that fits each."""

import cv2
import numpy as np
import onnx
import pytest

from src.config.configuration import make_config, read_recipe
from src.data.dataset import build_annotations
from src.data.short_side import ShortSide
from src.data.transforms import FILL
from src.deploy.export_request import comparison_images
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import describe
from src.detection.anchors import build_anchors
from src.detection.postprocess import build_postprocessor
from src.evaluation.detect import detect_with
from src.models.ssd import build_ssd
from src.prediction.detector import Detector
from src.prediction.inference import describe_views
from src.prediction.network_model import load_network
from src.runtime.errors import InputError
from src.training.checkpoints import write_checkpoint
from tests.conftest import DEMO_RECIPE, small_keys
from tests.networks import excite

pytestmark = pytest.mark.usefixtures("narrow", "shared_networks")

KEYS = {
    "resize": "short_side", "image_size": [64, 96], "short_side": 64, "long_side": 90,
    "score_threshold": 0.4, "eval_batch_size": 3, "image_mean": [120.5, 110.25, 100.0],
    "max_detections": 300, "candidates_per_level": 200, "anchor_pixels": "whole",
    "box_coding": "delta", "scales_per_octave": 2, "aspect_ratios": [1.0, 2.0, 0.5],
}  # fmt: skip


@pytest.fixture(scope="module")
def detector_file(shapes, tmp_path_factory):
    """A configuration with a checkpoint that detects many objects."""
    folder = tmp_path_factory.mktemp("canvases")
    layers = [(read_recipe(str(DEMO_RECIPE)), "demo"), (small_keys(shapes, folder), "")]
    cfg = make_config([*layers, (KEYS, "")])
    network = excite(build_ssd(cfg, build_anchors(cfg).anchors_per_cell))
    path = folder / "last.ckpt"
    write_checkpoint(path, network.parameters_dict(), cfg.to_yaml(), {"epoch": 1, "step": 6})
    return cfg.replace(checkpoint_path=str(path))


@pytest.fixture(scope="module")
def network(detector_file):
    return load_network(detector_file)


def plain_detections(network, cfg, image, *, file=False):
    """The image alone, with the anchors of its canvas; for an exported file there is one canvas."""
    height, width = image.shape[:2]
    canvas = (96, 64) if height > width and not file else (64, 96)
    fill = (124, 116, 104) if file else tuple(cfg.image_mean)
    resizing = ShortSide(short=64, long=90, canvases=(canvas,), fill=fill, exact=not file)
    fitted, scale = resizing.fit(image, canvas)
    (one,) = run_network(network, fitted[None], "")
    generator = build_anchors(cfg)
    levels = [len(level) for level in generator.levels(canvas)]
    postprocess = build_postprocessor(cfg)
    found = postprocess.decoded(one.deltas, one.logits, generator.boxes(canvas), levels)
    return postprocess([found.in_image(scale, np.array([width, height]))])


def test_each_image_on_its_canvas_in_the_order_given(detector_file, network):
    cfg, rng = detector_file, np.random.default_rng(2)
    shapes = [(50, 70), (70, 50), (60, 60), (40, 100), (100, 30)]
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    detector = Detector.load(cfg.checkpoint_path, eval_batch_size=3)
    for image, found in zip(images, detector.detect(images)):
        expected = plain_detections(network, cfg, image)
        assert len(found.scores) == len(expected.scores) > 100  # more than AP counts of a class
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_array_equal(found.labels, expected.labels)


def test_a_split_in_its_order(detector_file, network):
    cfg = detector_file
    annotations = build_annotations(cfg, training=False)
    standing = annotations.sizes[:, 1] > annotations.sizes[:, 0]
    assert 0 < standing.sum() < len(annotations)
    rows = detect_with(network, cfg, annotations).rows
    kept = dict.fromkeys(rows[:, 0].astype(int).tolist())
    assert list(kept) == [i for i in annotations.image_ids.tolist() if i in kept]
    assert len(kept) > len(annotations) // 2
    for index in np.flatnonzero(standing)[:2].tolist() + np.flatnonzero(~standing)[:2].tolist():
        record = annotations[index]
        own = rows[rows[:, 0] == record.image_id]
        expected = plain_detections(network, cfg, record.read())
        np.testing.assert_allclose(own[:, 5], expected.scores, atol=1e-5)
        np.testing.assert_allclose(own[:, 1:3], expected.boxes[:, :2], atol=1e-2)
    assert describe_views(cfg) == "1 view of each image, at 64 x 96, upright or across"
    smallest = describe_views(cfg.replace(canvas_step=32))
    assert smallest == "1 view of each image, at most 64 x 96, upright or across"


def test_an_exported_file_on_its_one_canvas(detector_file, network, tmp_path):
    cfg = detector_file.replace(nms=False, export_batch=1)
    images = comparison_images(cfg)
    assert images.dtype == np.uint8
    truth = run_network(network, images, "")
    path = tmp_path / "detector.onnx"
    exporter = Exporter(build_anchors(cfg).boxes(cfg.image_size), describe(cfg))
    assert exporter.export(lambda: load_network(cfg), truth, path, "ONNX").comparison.compared
    assert {p.key for p in onnx.load(path).metadata_props} >= {"short_side", "long_side"}
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in [(50, 70), (70, 50)]]
    detector = Detector.load(path, eval_batch_size=2)
    for image, found in zip(images, detector.detect(images)):
        expected = plain_detections(network, cfg, image, file=True)
        assert len(found.scores) == len(expected.scores) > 50
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
    with pytest.raises(InputError, match="--long_side is 80; expected 90"):
        Detector.load(path, long_side=80)


def test_files_of_one_canvas_together(tmp_path):
    """Landscapes and portraits come by turns, one file is none, and canvases are in steps of 32."""
    shapes = {"a": (60, 80), "b": (80, 60), "c": (60, 80), "d": None, "e": (81, 61), "f": (64, 64)}
    for name, shape in shapes.items():
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), np.zeros((*shape, 3), np.uint8)) if shape else path.touch()
    paths = sorted(tmp_path.iterdir())
    sides = {"short": 64, "long": 96, "canvases": ((64, 96), (96, 64)), "fill": FILL}

    def names(step: int) -> str:
        resizing = ShortSide(**sides, step=step)
        found = Detector(None, (), keep_aspect=False, batch_size=1, short_side=resizing)
        return "".join(path.stem for path in found.grouped(paths))

    assert names(32) == "acbedf"  # 64 x 96, 96 x 64, what is no image, 64 x 64
    assert names(0) == "abcdef"  # two canvases, whose graphs are kept
