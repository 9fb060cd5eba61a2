"""The detector as a library, from a checkpoint and from exported files."""

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from src.config.configuration import make_config, read_recipe
from src.data.dataset import build_annotations
from src.deploy.compare import equal_indices
from src.deploy.exported import load_onnx
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import NAMES, describe, description_path
from src.detection.anchors import build_anchors
from src.evaluation.coco_metric import evaluate
from src.evaluation.detect import detect_with
from src.models.ssd import build_ssd
from src.prediction.detector import Detector, detector_config
from src.prediction.network_model import load_network
from src.prediction.objects import Objects
from src.runtime.errors import InputError
from src.training.checkpoints import write_checkpoint
from src.weights.checkpoint_file import run_config
from tests.conftest import DEMO_RECIPE, small_keys
from tests.networks import excite

pytestmark = pytest.mark.usefixtures("narrow", "shared_networks")

LOW = 0.3  # a score that some hundreds of predictions of the excited network reach


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    """A configuration with a checkpoint that detects many objects, and exported files."""
    folder = tmp_path_factory.mktemp("detector")
    cfg = make_config([(read_recipe(str(DEMO_RECIPE)), "demo"), (small_keys(shapes, folder), "")])
    path = folder / "run" / "ckpt" / "last.ckpt"
    network, anchors = build_ssd(cfg, build_anchors(cfg).anchors_per_cell), build_anchors(cfg)
    excite(network)
    write_checkpoint(path, network.parameters_dict(), cfg.to_yaml(), {"epoch": 1, "step": 6})
    cfg = cfg.replace(checkpoint_path=str(path), score_threshold=LOW, eval_batch_size=1)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    truth = run_network(network, images, "")
    for file_format, nms in (("MINDIR", False), ("ONNX", True)):
        exporter = Exporter(anchors.boxes(cfg.image_size), describe(cfg.replace(nms=nms)))
        exporter.export(
            lambda: network, truth, folder / f"detector.{file_format.lower()}", file_format
        )
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
    with pytest.raises(InputError, match="2 images at once; the detector takes 1"):
        detector.detect([np.zeros((5, 5, 3), np.uint8)] * 2)


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


def test_bad_files(trained, tmp_path):
    cfg, folder = trained
    with pytest.raises(InputError, match="no such file"):
        Detector.load(tmp_path / "none.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint" * 20)
    with pytest.raises(InputError, match="not a MindSpore checkpoint"):
        Detector.load(tmp_path / "bad.ckpt")
    lonely = tmp_path / "lonely.mindir"
    lonely.write_bytes((folder / "detector.mindir").read_bytes())
    with pytest.raises(InputError, match=r"lonely\.mindir\.yaml: cannot be read"):
        Detector.load(lonely)
    for text, words in (("[1, 2]", "key: value"), ("a: [", "not YAML"), ("nms: 1", "lacks nam")):
        description_path(lonely).write_text(text)
        with pytest.raises(InputError, match=words):
            Detector.load(lonely)
    with pytest.raises(InputError, match="unknown key 'score'"):
        Detector.load(cfg.checkpoint_path, score=0.5)
    with pytest.raises(InputError, match="tta_scales needs a checkpoint"):
        Detector.load(folder / "detector.onnx", tta_scales=[1.0, 2.0])
    (tmp_path / "bad.onnx").write_bytes(b"no graph" * 20)
    with pytest.raises(InputError, match=r"bad\.onnx: not an ONNX file"):
        Detector.load(tmp_path / "bad.onnx")
    (tmp_path / "a.air").touch()
    with pytest.raises(InputError, match=r"a\.air: AIR files"):
        Detector.load(tmp_path / "a.air")
    with pytest.raises(InputError, match=r"no class 'a'; the detector knows ellipse, rectangle"):
        Detector.load(folder / "detector.onnx", classes=["background", "a", "b", "c", "d"])
    with pytest.raises(InputError, match=r"image_size: \[64, 64\], not \[96, 96\]"):
        Detector.load(folder / "detector.onnx", image_size=[96, 96])
    with pytest.raises(InputError, match=r"images\[0\] is int; expected an array"):
        Detector.load(cfg.checkpoint_path)([1, 2])
    with pytest.raises(InputError, match="an image is int; expected an array"):
        Detector.load(cfg.checkpoint_path)(1)
    assert Detector.load(cfg.checkpoint_path).detect([]) == []
    with pytest.raises(InputError, match="not an image"):
        Detector.load(cfg.checkpoint_path)(tmp_path / "bad.ckpt")


def rename_in_file(path, new, old):
    """Makes an exported file describe itself by the old name of a key."""
    if path.suffix == ".onnx":
        model = onnx.load(str(path))
        (entry,) = (entry for entry in model.metadata_props if entry.key == new)
        entry.key = old
        onnx.save(model, str(path))
    else:
        beside = description_path(path)
        assert f"{new}: " in beside.read_text()
        beside.write_text(beside.read_text().replace(f"{new}: ", f"{old}: "))


@pytest.mark.parametrize("name", ["detector.onnx", "detector.mindir"])
def test_exported_files_of_older_versions(trained, tmp_path, capsys, name):
    cfg, folder = trained
    path = tmp_path / name
    for made in folder.glob(f"{name}*"):
        shutil.copy(made, tmp_path)
    rename_in_file(path, "pre_nms_top_k", "candidates")
    assert detector_config(str(path)) == detector_config(str(folder / name))
    assert detector_config(str(path))["pre_nms_top_k"] == cfg.pre_nms_top_k
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found, expected = Detector.load(path)(image), Detector.load(folder / name)(image)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert len(found.scores) > 0
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="pre_nms_top_k: .*, not 2000"):
        Detector.load(path, candidates=2000)
    assert capsys.readouterr().err == "Detector.load(): candidates is now pre_nms_top_k\n"


def test_files_from_before_candidates_by_level(trained, tmp_path):
    _, folder = trained
    shutil.copy(folder / "detector.mindir", tmp_path)
    text = description_path(folder / "detector.mindir").read_text()
    rows = [row for row in text.splitlines() if not row.startswith("candidates_per_level")]
    assert len(rows) == len(text.splitlines()) - 1
    description_path(tmp_path / "detector.mindir").write_text("\n".join(rows))
    found = detector_config(str(tmp_path / "detector.mindir"))
    assert found == detector_config(str(folder / "detector.mindir"))
    assert found["candidates_per_level"] == 0


def test_checkpoints_of_older_versions(trained, tmp_path, capsys):
    cfg, _ = trained
    network, path = load_network(cfg), tmp_path / "old.ckpt"
    stored = cfg.replace(pre_nms_top_k=77).to_yaml()
    for new, old in (("pre_nms_top_k", "candidates"), ("ssd_min_scale", "min_scale")):
        assert f"\n{new}: " in stored
        stored = stored.replace(f"\n{new}: ", f"\n{old}: ")
    write_checkpoint(path, network.parameters_dict(), stored, {"epoch": 1, "step": 6})
    assert run_config(str(path))["pre_nms_top_k"] == 77
    assert Detector.load(path).inference.postprocess.candidates == 77
    assert Detector.load(path, candidates=5).inference.postprocess.candidates == 5
    assert capsys.readouterr().err == "Detector.load(): candidates is now pre_nms_top_k\n"
    with pytest.raises(InputError, match=r"ssd_min_scale: 0\.2 in the checkpoint, 0\.3 in the con"):
        Detector.load(path, ssd_min_scale=0.3)


def test_a_checkpoint_of_another_head_is_refused_by_key(trained, tmp_path):
    cfg, _ = trained
    with pytest.raises(InputError) as error:
        Detector.load(cfg.checkpoint_path, head_norm="group", level_scale=True, fpn_norm="none")
    assert str(error.value).splitlines()[1:] == [
        "  fpn_norm: batch in the checkpoint, none in the config",
        "  head_norm: batch in the checkpoint, group in the config",
        "  level_scale: False in the checkpoint, True in the config",
        "  omit these keys, or set them as it was trained",
    ]
    # a checkpoint of a version that had no such keys
    rows = [row for row in cfg.to_yaml().splitlines() if not row.startswith(("p6_", "anchor_of"))]
    path = tmp_path / "old.ckpt"
    info = {"epoch": 1, "step": 6}
    write_checkpoint(path, load_network(cfg).parameters_dict(), "\n".join(rows), info)
    assert "p6_from" not in run_config(str(path))
    assert Detector.load(path).names == cfg.classes[1:]
    for key, value, old in (("p6_from", "c5", "p5"), ("anchor_offset", 0.0, 0.5)):
        with pytest.raises(InputError, match=f"{key}: {old} in the checkpoint, {value} in the"):
            Detector.load(path, **{key: value})


def test_options_of_the_network_come_with_the_checkpoint(trained, tmp_path):
    cfg, _ = trained
    options = {"head_norm": "group", "level_scale": True, "p6_from": "c5", "fpn_norm": "none"}
    cfg = cfg.replace(**options)
    network, path = build_ssd(cfg, build_anchors(cfg).anchors_per_cell), tmp_path / "a.ckpt"
    write_checkpoint(path, network.parameters_dict(), cfg.to_yaml(), {"epoch": 1, "step": 6})
    loaded = Detector.load(path).inference.model.network.parameters_dict()
    assert loaded.keys() == network.parameters_dict().keys()
    assert "box_head.scales" in loaded


def test_keys_that_are_fixed_in_a_file(trained):
    """A file with NMS has its settings fixed; one without, the number of candidates."""
    _, folder = trained
    for name, key, value in (
        ("onnx", "score_threshold", 0.1),
        ("onnx", "nms_iou", 0.5),
        ("onnx", "class_agnostic", True),
        ("onnx", "max_detections", 200),
        ("onnx", "suppression", "soft"),
        ("onnx", "pre_nms_top_k", 500),
        ("mindir", "pre_nms_top_k", 2000),
        ("onnx", "candidates_per_level", 50),
        ("mindir", "candidates_per_level", 50),
    ):
        with pytest.raises(InputError, match=f"{key}: .*, not {value}"):
            Detector.load(folder / f"detector.{name}", **{key: value})
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(InputError, match="has no CUDAExecutionProvider for device_target GPU"):
            load_onnx(folder / "detector.onnx", {}, device="GPU")
    with pytest.raises(InputError, match="too few candidates for protocol legacy"):
        Detector.load(folder / "detector.onnx", protocol="legacy")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    higher = Detector.load(folder / "detector.onnx", score_threshold=0.6, max_detections=5)
    assert 0 < len(higher(image).scores) <= 5
    assert higher(image).scores.min() > 0.6
    other = {"score_threshold": 0.1, "nms_iou": 0.3, "suppression": "soft", "max_detections": 200}
    free = Detector.load(folder / "detector.mindir", **other)
    assert len(free(image).scores) > 100


def test_a_description_that_is_not_of_the_file(trained, tmp_path):
    _, folder = trained
    path = tmp_path / "detector.mindir"
    path.write_bytes((folder / path.name).read_bytes())
    text = description_path(folder / path.name).read_text()
    for old, new, words in (
        ("export_batch: 1", "export_batch: -1", r"export_batch is -1; expected int 0\.\.4096"),
        ("export_batch: 1", "export_batch: x", "export_batch is 'x'"),
        ("image_size: [64, 64]", "image_size: [96, 96]", r"does not take images \(1, 96, 96, 3\)"),
        ("triangle, ", "", "labels up to 3 for 3 classes"),
        (f"{NAMES}: [", f"{NAMES}: 5 #", "names is 5; expected a list"),
    ):
        assert old in text
        description_path(path).write_text(text.replace(old, new))
        with pytest.raises(InputError, match=words):
            Detector.load(path)


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
