"""inference*.py and quantized.py at toy size, with an answer in torchvision's place."""

import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import inference, inference_converted, quantized
from src.weights import __main__ as convert
from tests.conftest import REPOSITORY
from tests.programs import call
from tests.weights.golden.seeded_detector import detector_weights
from tests.weights.shapes import small_shapes
from tests.weights.torch_writer import state_dict

pytestmark = pytest.mark.usefixtures("narrow")

# wide enough that most of a file are its weights
WIDER = ["--backbone=resnet18", "--fpn_channels=128", "--head_depth=0"]
PROGRAMS = {
    "export.py": lambda flags: call("export", *flags), "src.weights": convert.main,
    **{module.__file__: module.main for module in (inference, quantized, inference_converted)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """What prepares files runs in this process, which has MindSpore; what is timed does not."""
    start = subprocess.run

    def run(command, **keys):
        program, *flags = [str(word) for word in command[1:] if word != "-m"]
        if command[0] != sys.executable:
            return start(command, **keys)
        with redirect_stdout(sys.stderr):
            return PROGRAMS[program](flags)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.slow
def test_inference(run_script, peer):
    row = run_script(inference, "--image_size=64", "--batches=1", "--rounds=1", f"--peer={peer}",
              *WIDER)["inference"]  # fmt: skip
    assert (row["image_size"], row["batch"]) == (64, 1)
    for role in (*inference.OURS, *inference.PEERS):
        assert row[role]["ms_an_image"] >= 0
        assert row[role]["peak_gb"] > 0
    for role in inference.EXPORTED:
        assert row[role]["file_mb"] > 5  # the weights
    ratios = [value for name, value in row.items() if "_to_torchvision" in name]
    assert len(ratios) == 18
    assert min(ratios) > 0


@pytest.mark.slow
def test_quantized(run_script):
    row = run_script(quantized, "--image_size=64", "--batches=2", "--rounds=1", *WIDER)
    row = row["quantized"]
    assert (row["image_size"], row["batch"]) == (64, 2)
    sizes = [row[role]["file_mb"] for role in quantized.FORMATS]
    assert sizes[0] > 1.8 * sizes[1] > 3 * sizes[2] > 0
    for role in quantized.FORMATS:
        assert min(row[role]["ms_an_image"], row[role]["peak_gb"]) > 0
    assert row["float32"]["to_float32"] == row["float32"]["cpu_to_float32"] == 1


def test_equal_detections_are_counted(tmp_path):
    boxes = np.array([[[0, 0, 9, 9], [5, 5, 20, 20], [0, 0, 0, 0]]], np.float32)
    scores, labels = np.array([[0.9, 0.4, 0]], np.float32), np.array([[1, 0, -1]], np.int32)
    np.savez(tmp_path / "a.npz", boxes=boxes, scores=scores, labels=labels)
    assert quantized.count_equal([boxes, scores, labels], tmp_path / "a.npz") == (2, 2)
    other = scores - np.float32([[0, 0.01, 0]])
    assert quantized.count_equal([boxes, other, labels], tmp_path / "a.npz") == (1, 2)


def test_openvino_is_asked_for_where_it_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(quantized.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        quantized.main(["--openvino"])
    assert "has no package openvino; 'pip install openvino' gets it" in capsys.readouterr().err


ORIGINAL = """#!{python}
import shutil, sys
sys.path.insert(0, {repository!r})
from benchmarks.processes import serve
if "--prepare" in sys.argv:
    shutil.copytree({files!r}, sys.argv[sys.argv.index("peer") + 1], dirs_exist_ok=True)
else:
    serve(lambda: (lambda: sum(range(10**6)), {{"found": 2, "of": 2, "detections": 2}}))
"""


@pytest.fixture
def original(tmp_path) -> str:
    """An interpreter that has prepared files of a RetinaNet, in place of torchvision."""
    files, path = tmp_path / "files", tmp_path / "python"
    files.mkdir()
    state_dict(files / "peer.pth", detector_weights(small_shapes()))
    found = {
        "boxes": np.array([[0, 0, 30, 40], [5, 5, 20, 20]], np.float32),
        "scores": np.array([0.9, 0.4], np.float32),
        "labels": np.array([1, 90]),
    }
    np.savez(files / "peer.npz", **found)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, 480, 640])
    kinds = {"boxes": TensorProto.FLOAT, "scores": TensorProto.FLOAT, "labels": TensorProto.INT64}
    outputs = [helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in found.items()]
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))
        for name, array in found.items()
    ]
    graph = helper.make_graph(nodes, "original", [image], outputs)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), files / "peer.onnx")
    keys = {"python": sys.executable, "repository": str(REPOSITORY), "files": str(files)}
    path.write_text(ORIGINAL.format(**keys))
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_inference_of_a_converted_detector(run_script, original):
    row = run_script(
        inference_converted, "--short_side=64", "--rounds=1", f"--peer={original}"
    )["inference converted"]  # fmt: skip
    assert row["canvas"] == [64, 96]
    for role in (*inference_converted.OURS, *inference_converted.PEERS):
        assert row[role]["ms_an_image"] >= 0
        assert row[role]["peak_gb"] > 0
        assert row[role]["of"] == 2
        assert row[role]["detections"] > 1
    assert row["torchvision_onnx"]["found"] == 2
    assert row["onnx_to_torchvision_onnx"] > 0
