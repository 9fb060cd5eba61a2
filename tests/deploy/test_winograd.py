"""Convolutions rewritten by Winograd's method, against sums over the taps in float64."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deploy.winograd import use_winograd

CHANNELS, OUT = 256, 272
SAME = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
rng = np.random.default_rng(0)
WEIGHT = rng.normal(size=(OUT, CHANNELS, 3, 3)).astype(np.float32)
BIAS = rng.normal(size=OUT).astype(np.float32)


def model_of(sides, batch="batch", bias=True, **attributes) -> onnx.ModelProto:
    """Convolutions of inputs of these sizes, that share their weights."""
    names = [f"x{index}" for index in range(len(sides))]
    arrays = {"w": WEIGHT, "b": BIAS} if bias else {"w": WEIGHT}
    nodes = []
    for name in names:
        nodes.append(helper.make_node("Relu", [name], [f"r{name}"]))
        keys = {**SAME, **attributes}
        nodes.append(helper.make_node("Conv", [f"r{name}", *arrays], [f"y{name}"], **keys))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, CHANNELS, *side])
        for name, side in zip(names, sides)
    ]
    shape = [batch, OUT, None, None]
    outputs = [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, shape) for n in names]
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "levels", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def run(model: onnx.ModelProto, arrays):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {f"x{index}": array for index, array in enumerate(arrays)})


def convolved(x: np.ndarray) -> np.ndarray:
    """Positive parts of (N,C,H,W), convolved."""
    height, width = x.shape[2:]
    padded = np.pad(np.maximum(x, 0).astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = 0
    for down in range(3):
        for right in range(3):
            window = padded[:, :, down : down + height, right : right + width]
            total = total + np.einsum("nchw,oc->nohw", window, WEIGHT[:, :, down, right])
    return total


@pytest.mark.parametrize("bias", [True, False])
def test_levels_of_any_size_and_batch(bias):
    sides = [(32, 32), (37, 42), (20, 20)]
    model = model_of(sides, bias=bias)
    assert use_winograd(model, growth=5) == 2  # the last is too small
    assert len([node for node in model.graph.node if node.op_type == "DepthToSpace"]) == 2
    names = [init.name for init in model.graph.initializer]
    assert names.count("w") == 1
    arrays = [rng.normal(size=(2, CHANNELS, *side)).astype(np.float32) for side in sides]
    for array, found in zip(arrays, run(model, arrays), strict=True):
        wanted = convolved(array) + (BIAS[:, None, None] if bias else 0)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("growth", "attributes"),
    [
        (3.9, {}),  # transformed weights are 4 times as large
        (5, {"strides": [2, 2]}),
        (5, {"dilations": [2, 2], "pads": [2] * 4}),
        (5, {"pads": [0] * 4}),
    ],
)
def test_what_stays(growth, attributes):
    model = model_of([(40, 40)], bias=False, **attributes)
    before = model.SerializeToString()
    assert use_winograd(model, growth) == 0
    assert model.SerializeToString() == before


def test_what_saves_most_comes_first():
    """Of two weights as large, those for more cells."""
    model = model_of([(36, 36), (40, 40)], bias=False)
    model.graph.initializer.append(numpy_helper.from_array(WEIGHT, "v"))
    model.graph.node[3].input[1] = "v"
    assert use_winograd(model, growth=2.1) == 1
    assert [n.input[0] for n in model.graph.node if n.op_type == "Conv"][0] == "rx0"
