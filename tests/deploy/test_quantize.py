"""A small detector's ONNX file in 16 and 8 bits, beside NumPy's own arithmetic."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deploy.quantize import network_of, to_fp16, to_int8

RNG = np.random.default_rng(0)
SIDE, CHANNELS, PLACES = 8, 4, 3000  # float16 holds whole numbers up to 2,048 only
IMAGES = RNG.integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
WEIGHTS = {
    "one": RNG.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32),
    "two": RNG.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32),
}


def small_detector(batch: int = 1) -> onnx.ModelProto:
    """Two convolutions, between normalised pixels and a tail that adds PLACES to an index."""
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "deviation"], ["scaled"], "scale"),
        helper.make_node("Transpose", ["scaled"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "one"], ["first"], "conv1", **pads),
        helper.make_node("Relu", ["first"], ["active"], "relu"),
        helper.make_node("Conv", ["active", "two"], ["second"], "conv2", **pads),
        helper.make_node("ReduceMax", ["second"], ["scores"], "best", axes=[1, 2, 3], keepdims=0),
        helper.make_node("ArgMax", ["scores"], ["index"], "argmax", axis=0, keepdims=0),
        helper.make_node("Cast", ["index"], ["number"], "number", to=TensorProto.FLOAT),
        helper.make_node("Add", ["number", "places"], ["place"], "place"),
        helper.make_node("Identity", ["place"], ["places_found"], "found"),
    ]
    values = {"deviation": np.float32(58), "places": np.float32(PLACES + 1), **WEIGHTS}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch]),
            helper.make_tensor_value_info("places_found", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.array(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=4)
    helper.set_model_props(model, {"names": '["a"]'})
    return model


def run(model: onnx.ModelProto, image: np.ndarray) -> tuple[np.ndarray, float]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    scores, place = session.run(["scores", "places_found"], {"images": image[None]})
    assert scores.dtype == place.dtype == "float32"
    return scores, float(place)


def types(model: onnx.ModelProto) -> dict[str, int]:
    return {value.name: value.data_type for value in model.graph.initializer}


def test_the_network_is_what_lies_between_convolutions():
    names = {node.name for node in network_of(small_detector()).graph.node}
    assert names == {"conv1", "relu", "conv2"}


@pytest.mark.parametrize("bits", [16, 8])
def test_the_rest_is_computed_in_float32(bits):
    model = small_detector()
    changed = to_fp16(model) if bits == 16 else to_int8(model, (i[None] for i in IMAGES))
    onnx.checker.check_model(changed, full_check=True)
    assert {one.key: one.value for one in changed.metadata_props} == {"names": '["a"]'}
    assert [one.domain for one in changed.opset_import] == [""]
    assert [value.type.tensor_type.elem_type for value in changed.graph.input] == [
        TensorProto.UINT8
    ]
    for image in IMAGES:
        expected, found = run(model, image)[0], run(changed, image)
        # 11 bits of mantissa, or in both convolutions weights of 7 bits and results of 8
        np.testing.assert_allclose(found[0], expected, rtol=2e-3 if bits == 16 else 4e-2)
        assert found[1] == PLACES + 1
    assert run(changed, IMAGES[0])[0] != run(model, IMAGES[0])[0]


def test_weights_of_16_bits():
    found = types(to_fp16(small_detector()))
    assert found["network.one"] == found["network.two"] == TensorProto.FLOAT16
    assert found["deviation"] == found["places"] == TensorProto.FLOAT


def test_weights_of_8_bits_have_a_scale_a_channel():
    model = to_int8(small_detector(batch=2), [IMAGES[:2], IMAGES[2:4]])
    arrays = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    for name, weight in WEIGHTS.items():
        scale = arrays[f"{name}_scale"]
        assert scale.shape == (CHANNELS,)
        np.testing.assert_allclose(scale, np.abs(weight).max(axis=(1, 2, 3)) / 64, rtol=1e-5)
        restored = arrays[f"{name}_quantized"] * scale[:, None, None, None]
        assert arrays[f"{name}_quantized"].dtype == np.int8
        np.testing.assert_array_less(np.abs(restored - weight).max(axis=(1, 2, 3)), scale)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 3  # of the pixels, between, and of the result
