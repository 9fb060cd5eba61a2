"""Adds nodes to ONNX graphs, and checks models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


class GraphBuilder:
    """Adds nodes and constants to a graph, with unique names that begin with `prefix`."""

    def __init__(self, graph: onnx.GraphProto, prefix: str):
        self.graph = graph
        self.prefix = prefix
        self.constants: dict[tuple, str] = {}  # names by their contents

    def constant(self, value: Any, dtype: type) -> str:
        """The name of a constant, which equal ones share."""
        array = np.array(value, dtype)
        key = array.shape, array.dtype, array.tobytes()
        if key not in self.constants:
            self.constants[key] = f"{self.prefix}.constant{len(self.constants)}"
            self.graph.initializer.append(numpy_helper.from_array(array, self.constants[key]))
        return self.constants[key]

    def add(self, kind: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Adds a node; returns the name of its first output."""
        name = f"{self.prefix}.{kind}.{len(self.graph.node)}"
        outputs = list(outputs) or [name]
        node = helper.make_node(kind, list(inputs), outputs, name=name, **attributes)
        self.graph.node.append(node)
        return outputs[0]


def check_model(model: onnx.ModelProto) -> None:
    """RuntimeError unless the model is valid ONNX."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RuntimeError(f"not valid ONNX: {error}") from error
