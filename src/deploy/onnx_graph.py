"""What MindSpore's ONNX files lack: suppression, a free batch size, and a description."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from src.deploy.export_cells import NO_OBJECT
from src.deploy.formats import OUTPUTS

CANDIDATE = "candidate_"  # before the names of outputs that suppression still has to see
BATCH_AXIS = "batch"


class GraphBuilder:
    """Adds nodes and constants to a graph, each under a name of its own."""

    def __init__(self, graph: onnx.GraphProto):
        self.graph = graph

    def constant(self, value: Any, dtype: type) -> str:
        """Name of a new constant."""
        name = f"suppression.{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Name of the first output of a new node of that kind."""
        name = f"suppression.{kind}.{len(self.graph.node)}"
        outputs = list(outputs) or [name]
        node = helper.make_node(kind, list(inputs), outputs, name=name, **attributes)
        self.graph.node.append(node)
        return outputs[0]


def add_suppression(
    graph: onnx.GraphProto,
    *,
    candidates: int,
    num_classes: int,
    score_threshold: float,
    max_iou: float,
    class_agnostic: bool,
    max_detections: int,
) -> None:
    """Turns candidates into detections by the standard operator NonMaxSuppression.

    The graph's outputs are boxes (N,P,4), scores (N,P) and labels (N,P) with CANDIDATE before their
    names; they become (N,D,4), (N,D) and (N,D), the same as those of `cells.Suppression`.

    Args:
        candidates, max_detections: P, and D at most.
        num_classes: K.
    """
    build = GraphBuilder(graph)
    boxes, scores, labels = (CANDIDATE + name for name in OUTPUTS)
    rows = min(max_detections, candidates)
    of_classes = build.add("Unsqueeze", scores, axes=[1])  # (N,1,P)
    if not class_agnostic:  # (N,K,P), scores of other classes than a candidate's own are 0
        every = build.constant(np.arange(num_classes)[None, :, None], np.int32)  # (1,K,1)
        own = build.add("Equal", build.add("Unsqueeze", labels, axes=[1]), every)
        of_classes = build.add("Where", own, of_classes, build.constant(0, np.float32))
    chosen = build.add(  # (M,3) image, class, candidate
        "NonMaxSuppression",
        boxes,
        of_classes,
        build.constant([rows], np.int64),
        build.constant([max_iou], np.float32),
        build.constant([score_threshold], np.float32),
    )
    place = build.add("Gather", chosen, build.constant([0, 2], np.int64), axis=1)  # (M,2)
    kept = build.add(  # scores (N,P), 0 where a candidate is not chosen
        "ScatterND",
        build.add("Mul", scores, build.constant(0, np.float32)),
        place,
        build.add("GatherND", scores, place),
    )
    add_best(build, kept, rows)
    set_outputs(graph, rows)


def add_best(build: GraphBuilder, kept: str, rows: int) -> None:
    """Gives the best `rows` candidates by their scores `kept` (N,P); where that is 0, none."""
    boxes, _, labels = (CANDIDATE + name for name in OUTPUTS)
    best, row = f"{CANDIDATE}best", f"{CANDIDATE}row"  # (N,D)
    build.add("TopK", kept, build.constant([rows], np.int64), outputs=[best, row], axis=1)
    is_object = build.add("Greater", best, build.constant(0, np.float32))
    shown = build.add("Unsqueeze", build.add("Cast", is_object, to=TensorProto.FLOAT), axes=[2])
    corners = build.add("Unsqueeze", row, axes=[2])
    corners = build.add("Tile", corners, build.constant([1, 1, 4], np.int64))  # (N,D,4)
    own_boxes = build.add("GatherElements", boxes, corners, axis=1)
    own_labels = build.add("GatherElements", labels, row, axis=1)
    build.add("Mul", own_boxes, shown, outputs=OUTPUTS[:1])
    build.add("Identity", best, outputs=OUTPUTS[1:2])
    none = build.constant(NO_OBJECT, np.int32)
    build.add("Where", is_object, own_labels, none, outputs=OUTPUTS[2:])


def set_outputs(graph: onnx.GraphProto, rows: int) -> None:
    """Declares the graph's outputs as OUTPUTS with so many rows an image."""
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    del graph.output[:]
    for name, kind, rest in zip(OUTPUTS, kinds, ([4], [], [])):
        graph.output.append(helper.make_tensor_value_info(name, kind, [size, rows, *rest]))


def free_batch(graph: onnx.GraphProto) -> None:
    """Lets a graph that was made for one image take any number.

    MindSpore writes the batch size into the shapes that it reshapes to, as their first number.
    """
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    constants = [(init.name, init) for init in graph.initializer]
    constants += [(n.output[0], n.attribute[0].t) for n in graph.node if n.op_type == "Constant"]
    for name, tensor in constants:
        if name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0  # as in what is reshaped
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    del graph.value_info[:]  # may hold shapes of one image


def finish(
    path: Path,
    description: Mapping[str, Any],
    *,
    batch: int,
    rows: int,
    suppression: Optional[Mapping[str, Any]],
) -> None:
    """Completes the file at `path`, which MindSpore wrote for candidates, and checks it.

    Args:
        description: goes into the file's metadata, as JSON by key.
        batch: images at once; 0 any number.
        rows: P, candidates of an image.
        suppression: arguments of `add_suppression`, or None without.

    Raises:
        RuntimeError: the outcome is not valid ONNX.
    """
    model = onnx.load(str(path))
    if batch == 0:
        free_batch(model.graph)
    if suppression is None:
        set_outputs(model.graph, rows)
    else:
        add_suppression(model.graph, candidates=rows, **suppression)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in description.items()})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RuntimeError(f"{path.name}: not valid ONNX: {error}") from error
    onnx.save(model, str(path))


def candidate_names(*, nms: bool) -> list[str]:
    """Names of the outputs that MindSpore is to write, before `finish`."""
    return [CANDIDATE * nms + name for name in OUTPUTS]
