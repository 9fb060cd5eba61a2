"""Files that a detector is loaded from: older ones, wrong ones, and what is fixed in them."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest

from src.deploy.exported import load_onnx
from src.deploy.formats import NAMES, description_path
from src.prediction.detector import Detector
from src.prediction.network_model import load_network
from src.prediction.recorded import detector_config
from src.runtime.errors import InputError
from src.training.checkpoints import write_checkpoint
from src.weights.checkpoint_file import run_config

pytestmark = pytest.mark.usefixtures("narrow", "shared_networks")


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
    with pytest.raises(InputError, match="tiles is 31; expected the pixels of a side, 32 or more"):
        Detector.load(cfg.checkpoint_path, tiles=31)
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
    with pytest.raises(InputError, match=r"--image_size is \[96, 96\]; expected \[64, 64\]"):
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
    with pytest.raises(InputError, match="--pre_nms_top_k is 2000; expected "):
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
        with pytest.raises(InputError, match=f"--{key} is {value}; expected "):
            Detector.load(folder / f"detector.{name}", **{key: value})
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(InputError, match="has no CUDAExecutionProvider for device_target GPU"):
            load_onnx(folder / "detector.onnx", device="GPU")
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
