"""ONNX files of 16 or 8 bits, made from float32 ones by ONNX Runtime's own tools.

Only the network is changed, from the first convolution to the predictors. Pixels are normalised,
and boxes are decoded, chosen and suppressed, in float32. Inputs and outputs stay as they are.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from src.deploy.formats import INPUT
from src.deploy.graph_builder import check_model

CHANNEL_OPSET = 13  # of ONNX, the first in which each channel may have a scale of its own
KEPT_NAMES = (
    "rename_nodes", "rename_edges", "rename_inputs", "rename_outputs", "rename_value_infos",
)  # fmt: skip
INT8_KINDS = ("Conv", "Relu", "Clip", "Add", "MaxPool", "Reshape", "Transpose", "Concat", "Resize")


def network_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The part of a detector from the input of its first convolutions to the output of its last."""
    model = onnx.shape_inference.infer_shapes(model)
    nodes = model.graph.node
    leading: set[str] = set()  # tensors that a convolution depends on
    ends = []
    for node in reversed(nodes):
        leads = not leading.isdisjoint(node.output)
        if node.op_type == "Conv" and not leads:
            ends.append(node.output[0])
        if node.op_type == "Conv" or leads:
            leading.update(node.input)
    behind: set[str] = set()  # tensors that depend on a convolution
    begins = {}
    for node in nodes:
        follows = not behind.isdisjoint(node.input)
        if node.op_type == "Conv" and not follows:
            begins[node.input[0]] = None
        if node.op_type == "Conv" or follows:
            behind.update(node.output)
    return onnx.utils.Extractor(model).extract_model(list(begins), ends)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The detector with its network's weights and results in float16.

    The network is converted alone: told to leave nodes out, the converter still passes values from
    one to the next in float16, which holds whole numbers, such as indices, only up to 2,048.
    """
    part = network_of(model)
    inside = {node.name for node in part.graph.node}
    # the rest may share constants with it
    part = onnx.compose.add_prefix(part, "network.", **dict.fromkeys(KEPT_NAMES, False))
    small = convert_float_to_float16(part, keep_io_types=True).graph
    others = [node for node in model.graph.node if node.name not in inside]
    used = {name for node in others for name in node.input}
    weights = [value for value in model.graph.initializer if value.name in used]
    graph = helper.make_graph(
        [*others, *small.node],
        model.graph.name,
        model.graph.input,
        model.graph.output,
        [*weights, *small.initializer],
    )
    whole = ONNXModel(helper.make_model(graph, opset_imports=model.opset_import))
    whole.topological_sort()
    return finished(model, whole.model)


class Calibration(CalibrationDataReader):
    """Batches (N,H,W,3) uint8 for ONNX Runtime's calibration."""

    def __init__(self, batches: Iterable[np.ndarray]):
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The input of the next run; None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def to_int8(model: onnx.ModelProto, batches: Iterable[np.ndarray]) -> onnx.ModelProto:
    """The detector with its network in 8 bits: QuantizeLinear and DequantizeLinear around nodes.

    Weights are signed, with a scale for each channel, and use 7 of the 8 bits: products of two
    overflow on processors without VNNI otherwise. Activations are unsigned; their ranges are those
    that the batches (N,H,W,3) give.
    """
    changed = model
    if model.opset_import[0].version < CHANNEL_OPSET:
        changed = onnx.version_converter.convert_version(model, CHANNEL_OPSET)
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantized = (Path(folder) / f"{number}.onnx" for number in range(3))
        onnx.save(changed, str(plain))  # given the model itself, it fails on large weights
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        part = network_of(onnx.load(str(prepared)))
        quantize_static(
            prepared,
            quantized,
            Calibration(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(INT8_KINDS),
            nodes_to_quantize=[node.name for node in part.graph.node],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return finished(model, onnx.load(str(quantized)))


def finished(model: onnx.ModelProto, changed: onnx.ModelProto) -> onnx.ModelProto:
    """The changed model with the metadata of the original, and with ONNX's own operators only.

    RuntimeError unless it is valid ONNX.
    """
    version = next(one.version for one in changed.opset_import if not one.domain)
    del changed.opset_import[:], changed.metadata_props[:]
    changed.opset_import.append(helper.make_opsetid("", version))
    changed.metadata_props.extend(model.metadata_props)
    changed.ir_version = helper.find_min_ir_version_for(changed.opset_import)
    check_model(changed)
    return changed
