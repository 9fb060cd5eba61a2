"""Files are written, read again and compared; those that differ are not kept."""

import json
import resource

import mindspore as ms
import numpy as np
import onnx
import pytest

from src.data.transforms import FILL
from src.deploy import exporter as export_module
from src.deploy.exported import LOADERS, load_exported
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import CLASSES, NAMES, describe, read_description
from src.deploy.quantize import to_fp16, to_int8
from src.detection.anchors import build_anchors
from src.models.folding import fold_norms
from src.models.ssd import build_ssd
from src.runtime.errors import InputError, NotFinite, RunError
from tests.conftest import DEMO_RECIPE, small_keys
from tests.networks import excite, stir_norms

pytestmark = pytest.mark.usefixtures("narrow")

KEYS = {"score_threshold": 0.3, "pre_nms_top_k": 200, "max_detections": 50}
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
LETTERBOXED = IMAGES.copy()
LETTERBOXED[0, :, 24:] = LETTERBOXED[1, 24:] = FILL
OPTIONS = {"head_norm": "group", "level_scale": True, "p6_from": "c5", "fpn_norm": "none"}
GFL = {
    "assigner": "atss", "box_loss": "giou", "box_coding": "distribution", "scales_per_octave": 1,
    "aspect_ratios": [1.0], "nms_iou": 0.95,
}  # fmt: skip
WAYS = [
    # format, nms, batch, fold, other keys
    ("ONNX", True, 1, True, {}),
    (
        "ONNX",
        False,
        2,
        False,
        {"head_norm": "group", "fpn_norm": "none", "centerness": True, "resize": "letterbox"},
    ),
    (
        "ONNX",
        True,
        0,
        True,
        {**OPTIONS, **GFL, "candidates_per_level": 80, "class_agnostic": True},
    ),
    ("MINDIR", True, 2, False, {"resize": "letterbox"}),
    ("MINDIR", False, 1, True, GFL),
    (
        "MINDIR",
        False,
        1,
        True,
        {"level_scale": True, "candidates_per_level": 80, "centerness": True},
    ),
    ("MINDIR", True, 0, True, {**OPTIONS, "candidates_per_level": 80, "class_agnostic": True}),
]


@pytest.fixture(scope="module")
def base(shapes, tmp_path_factory):
    from src.config.configuration import make_config, read_recipe

    keys = small_keys(shapes, tmp_path_factory.mktemp("export"))
    return make_config([(read_recipe(str(DEMO_RECIPE)), "demo"), (keys, ""), (KEYS, "")])


def network(cfg):
    """A network that detects many objects, none with a high score."""
    built = stir_norms(excite(build_ssd(cfg, build_anchors(cfg).anchors_per_cell)))
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


@pytest.fixture(scope="module")
def compiled(base):
    """The network, with its batch norms, which is compiled once."""
    return network(base)


@pytest.fixture(scope="module")
def truth(compiled):
    """Its predictions for three images, on which thresholds have no influence."""
    return run_network(compiled, IMAGES, "")


def exporter(cfg) -> Exporter:
    return Exporter(build_anchors(cfg).boxes(cfg.image_size), describe(cfg))


@pytest.mark.slow
@pytest.mark.parametrize(("file_format", "nms", "batch", "fold", "other"), WAYS)
def test_every_way(base, truth, tmp_path, file_format, nms, batch, fold, other):
    cfg = base.replace(nms=nms, export_batch=batch, fold_norms=fold, **other)
    path = tmp_path / f"detector.{file_format.lower()}"
    images = LETTERBOXED if cfg.resize == "letterbox" else IMAGES
    if other:
        truth = run_network(network(cfg), images, "")
    outcome = exporter(cfg).export(making(cfg), truth, path, file_format)
    names = {path.name} if file_format == "ONNX" else {path.name, path.name + ".yaml"}
    assert {p.name for p in tmp_path.iterdir()} == names
    assert path.stat().st_mode & 0o777 == 0o644
    rows = 50 if nms else 200
    if cfg.candidates_per_level and not nms:
        rows = 80 + 80 + 80 + 24 + 24  # P6 and P7 have one cell of six anchors and four classes
    assert outcome.rows == rows
    runs = {0: 4, 1: 3, 2: 4}[batch]  # three images, in whole batches, or all and one alone
    share = 3 if cfg.box_coding == "distribution" else 2  # of an anchor a cell fewer are left
    assert rows * runs / share < outcome.comparison.compared <= rows * runs
    assert outcome.comparison.problems == ()

    description = read_description(path)
    wanted = {**describe(cfg), CLASSES: list(cfg.classes)}
    del wanted[NAMES]
    assert description == wanted
    for count in (1, 2, 3) if batch == 0 else (batch,):
        boxes, scores, labels = LOADERS[file_format](path, description)(images[:count])
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
    wanted = LOADERS["ONNX"](path, description)(images)
    small = path.with_name("small.onnx")
    for changed, difference in ((to_fp16(model), 0.01), (to_int8(model, [images]), 0.1)):
        onnx.save(changed, str(small))
        assert read_description(small) == description
        found = LOADERS["ONNX"](small, description)(images)
        assert [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in wanted]
        np.testing.assert_allclose(found[1][:, :10], wanted[1][:, :10], atol=difference)
        assert small.stat().st_size < path.stat().st_size


@pytest.mark.slow
def test_a_backbone_that_pads_as_torchvision_does(base, tmp_path):
    cfg = base.replace(export_batch=0, padding="symmetric")
    truth = run_network(network(cfg), IMAGES[:2], "")
    asked = Exporter(build_anchors(cfg).boxes(cfg.image_size), describe(cfg), winograd=10)
    outcome = asked.export(making(cfg), truth, tmp_path / "a.onnx", "ONNX")
    assert outcome.comparison.compared > 100
    (note,) = outcome.notes  # the network is too small for it
    assert note.startswith("warning: no 3x3 convolution has 256 channels and 1000 cells")


@pytest.mark.slow
def test_onnx_is_what_the_standard_says(base, truth, tmp_path):
    """Names, metadata, and what folding saves."""
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


class Wrong:
    """A loader whose file scores a little higher, or is not a number."""

    def __init__(self, error):
        self.error = error

    def __call__(self, path, description):
        model = load_exported(path, description)
        run = model.run

        def changed(images):
            boxes, scores, labels = run(images)
            return boxes, scores + np.float32(self.error), labels

        model.run = changed
        return model


@pytest.mark.parametrize(
    ("file_format", "error", "message"),
    [
        ("MINDIR", 0.001, "does not find what the network finds, and was not kept"),
        ("ONNX", float("nan"), "nan among the scores"),
    ],
)
def test_a_file_that_differs_is_not_left(
    base, truth, tmp_path, monkeypatch, file_format, error, message
):
    path = tmp_path / f"detector.{file_format.lower()}"
    path.write_bytes(b"an older export")
    monkeypatch.setattr(export_module, "load_exported", Wrong(error))
    with pytest.raises(RunError, match=message):
        exporter(base).export(making(base), truth, path, file_format)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"an older export"


@pytest.mark.parametrize("file_format", ["ONNX", "MINDIR"])
def test_a_full_disk_names_the_file(base, truth, tmp_path, file_format):
    path = tmp_path / f"a.{file_format.lower()}"
    cfg = base.replace(export_batch=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # bytes of a file
    try:
        with pytest.raises(OSError) as failed:
            exporter(cfg).export(making(cfg), truth, path, file_format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_older_network_s_truth_is_a_mismatch(base, truth, tmp_path):
    other = making(base.replace(seed=5))
    with pytest.raises(RunError, match="image 1: only the network finds label"):
        exporter(base).export(other, truth, tmp_path / "a.onnx", "ONNX")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_candidates_are_compared_where_nothing_is_detected(base, truth, tmp_path, file_format):
    cfg = base.replace(score_threshold=0.99)
    path = tmp_path / f"a.{file_format.lower()}"
    outcome = exporter(cfg).export(making(cfg), truth, path, file_format)
    assert outcome.by_candidates
    assert outcome.rows == 50
    assert outcome.comparison.compared == 3 * 200
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, path.name + ".yaml"}
    assert read_description(path)["nms"] is True


@pytest.mark.slow
def test_candidates_that_differ_where_nothing_is_detected(base, truth, tmp_path):
    cfg = base.replace(score_threshold=0.99)
    with pytest.raises(RunError, match="does not find what the network finds"):
        exporter(cfg).export(making(cfg.replace(seed=5)), truth, tmp_path / "b.onnx", "ONNX")
    assert not (tmp_path / "b.onnx").exists()


def test_a_network_that_gives_no_numbers(compiled, truth):
    weight = compiled.class_head.predictor.weight
    sound = weight.value().copy()
    weight.set_data(sound * float("nan"))
    with pytest.raises(NotFinite, match=r"last\.ckpt: the network's outputs for image 1"):
        run_network(compiled, IMAGES, "last.ckpt")
    weight.set_data(sound)


@pytest.mark.slow
def test_a_batch_whose_rows_are_mixed_up_is_refused(base, truth, tmp_path, monkeypatch):
    """Each row of a batch gets another image."""

    def mixing(path, description):
        model = load_exported(path, description)
        run = model.run
        model.run = lambda images: run(images[::-1])
        return model

    monkeypatch.setattr(export_module, "load_exported", mixing)
    for batch in (0, 2):
        cfg = base.replace(export_batch=batch)
        with pytest.raises(RunError, match="does not find"):
            exporter(cfg).export(making(cfg), truth, tmp_path / "a.onnx", "ONNX")


@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_a_file_of_something_else(base, tmp_path, file_format):
    path = tmp_path / f"detector.{file_format.lower()}"
    path.write_bytes(b"no graph" * 50)
    description = {**describe(base), CLASSES: list(base.classes)}
    with pytest.raises(InputError, match=f"not an? {file_format} file"):
        load_exported(path, description)


def test_images_go_through_in_batches_of_the_file(base, truth, tmp_path):
    """A batch that is not full is padded, and the padding's detections are dropped."""
    cfg = base.replace(export_batch=2, nms=False)
    path = tmp_path / "a.onnx"
    exporter(cfg).export(making(cfg), truth, path, "ONNX")
    model = load_exported(path, read_description(path))
    together = model.forward(IMAGES)
    for index in range(3):
        for alone, row in zip(model.forward(IMAGES[index : index + 1]), together):
            np.testing.assert_allclose(alone[0], row[index], atol=1e-4)
