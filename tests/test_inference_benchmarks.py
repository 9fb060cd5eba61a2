"""inference.py and inference_converted.py at toy size, with an answer in torchvision's place."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import inference, inference_converted
from tests.conftest import REPOSITORY
from tests.printed_rows import NETWORK
from tests.weights.golden.seeded_detector import detector_weights
from tests.weights.shapes import SHAPES
from tests.weights.torch_writer import state_dict


@pytest.mark.slow
def test_inference(run_script, peer):
    row = run_script(inference, "--image_size=64", "--batches=1", "--rounds=1", f"--peer={peer}",
              *NETWORK)["inference"]  # fmt: skip
    assert (row["image_size"], row["batch"]) == (64, 1)
    for role in (*inference.OURS, *inference.PEERS):
        assert row[role]["ms_an_image"] >= 0
        assert row[role]["peak_gb"] > 0
    for role in ("mindir", "onnx", "onnx_plain"):
        assert row[role]["file_mb"] > 30  # the weights of a ResNet18
    assert min(row["onnx_to_torchvision"], row["onnx_to_torchvision_onnx"]) > 0


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
    state_dict(files / "peer.pth", detector_weights(SHAPES["v2"]))
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
