"""Files of every kind of network and format detect what the network does."""

import json

import mindspore as ms
import numpy as np
import onnx
import pytest

from src.data.transforms import FILL
from src.deploy import exporter as export_module
from src.deploy.exported import load_exported, load_onnx
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import CLASSES, NAMES, describe, read_description
from src.deploy.quantize import to_fp16, to_int8
from src.detection.anchors import build_anchors
from src.models.folding import fold_norms
from src.models.ssd import build_ssd
from tests.networks import excite, shared_network, stir_norms

pytestmark = pytest.mark.usefixtures("narrow")

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
LETTERBOXED = IMAGES.copy()
LETTERBOXED[0, :, 24:] = LETTERBOXED[1, 24:] = FILL
DISTRIBUTION = {
    "assigner": "atss", "box_loss": "giou", "box_coding": "distribution", "scales_per_octave": 1,
    "aspect_ratios": [1.0], "nms_iou": 0.95,
}  # fmt: skip
GROUP_NORMS = {"head_norm": "group", "fpn_norm": "none"}
OPTIONS = {
    **GROUP_NORMS, **DISTRIBUTION, "p6_from": "c5", "level_scale": True, "padding": "symmetric",
}  # fmt: skip
BY_LEVEL = {"candidates_per_level": 80}
WAYS = [
    # format, nms, batch, fold, other keys
    ("ONNX", True, 1, True, {}),
    ("ONNX", False, 2, False, {**GROUP_NORMS, "centerness": True, "resize": "letterbox"}),
    ("ONNX", True, 0, True, {**OPTIONS, **BY_LEVEL, "class_agnostic": True}),
    ("MINDIR", True, 2, False, {"resize": "letterbox"}),
    (
        "MINDIR",
        False,
        1,
        True,
        {**DISTRIBUTION, **BY_LEVEL, "level_scale": True, "centerness": True},
    ),
    ("MINDIR", True, 0, True, {**OPTIONS, **BY_LEVEL, "class_agnostic": True}),
]


def network(cfg, build=build_ssd):
    """A network that detects many objects, none with a high score."""
    built = stir_norms(excite(build(cfg, build_anchors(cfg).anchors_per_cell)))
    weight = built.class_head.predictor.weight
    weight.set_data(weight.value() * 0.1)
    if cfg.box_coding == "distribution":  # else all boxes of a level are large and nearly equal
        weight = built.box_head.predictor.weight
        weight.set_data(weight.value() * 30)
    if cfg.level_scale:
        built.box_head.scales.set_data(ms.Tensor(np.float32([1, 1.5, 0.5, 2, 0.8])))
    return built


def making(cfg):
    return lambda: fold_norms(network(cfg)) if cfg.fold_norms else network(cfg)


@pytest.fixture
def loaded(monkeypatch) -> list:
    """Gets each model that a file is compared as, and the contents of the file."""
    found = []

    def loading(path, description):
        found.append((load_exported(path, description), path.read_bytes()))
        return found[-1][0]

    monkeypatch.setattr(export_module, "load_exported", loading)
    return found


def exporter(cfg) -> Exporter:
    return Exporter(build_anchors(cfg).boxes(cfg.image_size), describe(cfg))


@pytest.mark.slow
@pytest.mark.parametrize(("file_format", "nms", "batch", "fold", "other"), WAYS)
def test_every_way(base, loaded, tmp_path, file_format, nms, batch, fold, other):
    cfg = base.replace(nms=nms, export_batch=batch, fold_norms=fold, **other)
    path = tmp_path / f"detector.{file_format.lower()}"
    images = LETTERBOXED if cfg.resize == "letterbox" else IMAGES
    # resizing is no part of the network, which is compiled once for all ways
    truth = run_network(network(cfg.replace(resize=base.resize), shared_network), images, "")
    outcome = exporter(cfg).export(making(cfg), truth, path, file_format)
    names = {path.name} if file_format == "ONNX" else {path.name, path.name + ".yaml"}
    assert {p.name for p in tmp_path.iterdir()} == names
    assert path.stat().st_mode & 0o777 == 0o644
    rows = 50 if nms else 200
    if cfg.candidates_per_level and not nms:
        rows = 80 + 4 * (4 * 4 + 2 * 2 + 1 + 1)  # four classes at each cell of the other levels
    assert outcome.rows == rows
    runs = {0: 4, 1: 3, 2: 4}[batch]  # three images, in whole batches, or all and one alone
    share = 3 if cfg.box_coding == "distribution" else 2  # of an anchor a cell fewer are left
    assert rows * runs / share < outcome.comparison.compared <= rows * runs
    assert outcome.comparison.problems == ()

    wanted = {**describe(cfg), CLASSES: list(cfg.classes)}
    del wanted[NAMES]
    assert read_description(path) == wanted
    ((model, contents),) = loaded
    assert path.read_bytes() == contents
    for count in (1, 2, 3) if batch == 0 else (batch,):
        boxes, scores, labels = model.run(images[:count])
        assert (boxes.shape, scores.shape) == ((count, rows, 4), (count, rows))
        assert (boxes.dtype, scores.dtype, labels.dtype) == ("float32", "float32", "int32")
        assert labels.min() >= -1
        assert (np.diff(scores, axis=1) <= 1e-6).all()  # logits are sorted; a sigmoid rounds
        least = 0.1 if cfg.centerness else 0.3
        assert least < scores.max() < 0.99
        if cfg.resize == "letterbox":  # nothing beside the pictures, whose sides are 24 there
            assert not (boxes[0, :, 0][scores[0] > 0] >= 24).any()
            assert not (boxes[1:2, :, 1][scores[1:2] > 0] >= 24).any()
    if file_format == "ONNX":
        check_quantized(path, images[: batch or 2])


def check_quantized(path, images):
    """The file in 16 and 8 bits gives the same arrays, with about the same scores."""
    model, description = onnx.load(str(path)), read_description(path)
    wanted = load_onnx(path)(images)
    small = path.with_name("small.onnx")
    for changed, difference in ((to_fp16(model), 0.01), (to_int8(model, [images]), 0.1)):
        onnx.save(changed, str(small))
        assert read_description(small) == description
        found = load_onnx(small)(images)
        assert [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in wanted]
        np.testing.assert_allclose(found[1][:, :10], wanted[1][:, :10], atol=difference)
        assert small.stat().st_size < path.stat().st_size


@pytest.mark.slow
def test_onnx_is_what_the_standard_says(base, tmp_path):
    """Names, metadata, and what folding saves."""
    truth = run_network(network(base, shared_network), IMAGES, "")
    models, bytes_of = {}, {}
    for fold in (True, False):
        cfg = base.replace(export_batch=0, fold_norms=fold)
        exporter(cfg).export(making(cfg), truth, tmp_path / "a.onnx", "ONNX")
        models[fold] = onnx.load(str(tmp_path / "a.onnx"))
        bytes_of[fold] = (tmp_path / "a.onnx").stat().st_size
    graph = models[True].graph
    onnx.checker.check_model(models[True], full_check=True)

    def shape(value):
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    assert {value.name: shape(value) for value in [*graph.input, *graph.output]} == {
        "images": ["batch", 64, 64, 3],
        "boxes": ["batch", 50, 4],
        "scores": ["batch", 50],
        "labels": ["batch", 50],
    }
    metadata = {entry.key: json.loads(entry.value) for entry in models[True].metadata_props}
    assert metadata[NAMES] == ["ellipse", "rectangle", "triangle", "cross"]
    assert metadata["image_size"] == [64, 64]
    assert metadata["score_threshold"] == 0.3
    kinds = {fold: [node.op_type for node in model.graph.node] for fold, model in models.items()}
    assert "NonMaxSuppression" in kinds[True]
    assert "BatchNormalization" not in kinds[True]
    norms = kinds[False].count("BatchNormalization")
    assert norms > 20
    left = kinds[True].count("Conv") - kinds[False].count("Conv")  # of the heads' further levels
    assert len(kinds[True]) <= len(kinds[False]) - norms + left
    assert 0 < left < norms / 2
    assert kinds[True].count("Resize") == 2  # 2x upsampling, which MindSpore writes as six axes
    assert bytes_of[True] < bytes_of[False]
