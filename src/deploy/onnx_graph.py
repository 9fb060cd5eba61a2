"""Completes ONNX files of MindSpore: suppression, free batch size, description, faster nodes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from src.deploy.export_cells import NO_OBJECT
from src.deploy.formats import OUTPUTS
from src.deploy.graph_builder import GraphBuilder, check_model
from src.deploy.winograd import use_winograd

CANDIDATE = "candidate_"  # prefix of outputs before suppression
BATCH_AXIS = "batch"
TWICE = [1, 1, 1, 2, 1, 2]  # repeats of Tile in `layers.upsample2x`


def add_suppression(
    graph: onnx.GraphProto,
    *,
    candidates: int,
    num_classes: int,
    score_threshold: float,
    nms_iou: float,
    class_agnostic: bool,
    max_detections: int,
) -> None:
    """Turns candidates into detections by the standard operator NonMaxSuppression.

    The outputs, boxes (N,P,4), scores (N,P) and labels (N,P) with prefix CANDIDATE, become (N,D,4),
    (N,D) and (N,D), equal to those of `export_cells.Suppression`. `candidates` is P, `num_classes`
    K, and `max_detections` the upper limit of D.
    """
    build = GraphBuilder(graph, "suppression")
    boxes, scores, labels = (CANDIDATE + name for name in OUTPUTS)
    rows = min(max_detections, candidates)
    of_classes = build.add("Unsqueeze", scores, axes=[1])  # (N,1,P)
    if not class_agnostic:  # (N,K,P), 0 for other classes than the candidate's
        every = build.constant(np.arange(num_classes)[None, :, None], np.int32)  # (1,K,1)
        own = build.add("Equal", build.add("Unsqueeze", labels, axes=[1]), every)
        of_classes = build.add("Where", own, of_classes, build.constant(0, np.float32))
    chosen = build.add(  # (M,3) image, class, candidate
        "NonMaxSuppression",
        boxes,
        of_classes,
        build.constant([rows], np.int64),
        build.constant([nms_iou], np.float32),
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
    """Outputs the `rows` best candidates by scores `kept` (N,P); a score of 0 is no object."""
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
    """Declares OUTPUTS, with `rows` per image, as the graph's outputs."""
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    del graph.output[:]
    for name, kind, rest in zip(OUTPUTS, kinds, ([4], [], [])):
        graph.output.append(helper.make_tensor_value_info(name, kind, [size, rows, *rest]))


def free_batch(graph: onnx.GraphProto) -> None:
    """Makes the batch size of a graph for one image dynamic.

    MindSpore writes the batch size into the target shapes of Reshape, as their first number, but
    not where it reshapes weights.
    """
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS
    weights = {init.name for init in graph.initializer}
    reshapes = [node for node in graph.node if node.op_type == "Reshape"]
    shapes = {node.input[1] for node in reshapes if node.input[0] not in weights}
    for name, tensor in constant_tensors(graph).items():
        if name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0  # copied from the input
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    del graph.value_info[:]  # may hold the old batch size


def upsample_by_resize(graph: onnx.GraphProto) -> None:
    """Replaces Reshape, Tile and Reshape, as `layers.upsample2x` is exported, by one Resize."""
    tensors = constant_tensors(graph)
    makers = {name: node for node in graph.node for name in node.output}
    build = GraphBuilder(graph, "upsample")
    for tile in [node for node in graph.node if node.op_type == "Tile"]:
        if numpy_helper.to_array(tensors[tile.input[1]]).tolist() != TWICE:
            continue
        [last] = [node for node in graph.node if tile.output[0] in node.input]
        first = makers[tile.input[0]]
        region, scales = build.constant([], np.float32), build.constant([1, 1, 2, 2], np.float32)
        resize = helper.make_node(
            "Resize",
            [first.input[0], region, scales],
            last.output,
            name=last.name,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        last.CopyFrom(resize)
        graph.node.remove(tile)
        graph.node.remove(first)
    remove_unused(graph)


def remove_unused(graph: onnx.GraphProto) -> None:
    """Removes constants that no node takes, which ONNX Runtime would warn of."""
    used = {name for node in graph.node for name in node.input}
    for constant in [init for init in graph.initializer if init.name not in used]:
        graph.initializer.remove(constant)
    kinds = [node for node in graph.node if node.op_type == "Constant"]
    for constant in [node for node in kinds if node.output[0] not in used]:
        graph.node.remove(constant)


def constant_tensors(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """Initializers and outputs of Constant nodes, by name."""
    found = {init.name: init for init in graph.initializer}
    found |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    return found


def complete_file(
    path: Path,
    description: Mapping[str, Any],
    *,
    candidates: int,
    num_classes: int,
    suppression: Mapping[str, Any] | None,
    winograd: float = 0,
) -> int:
    """Completes and checks the file at `path`, which MindSpore exported for candidates.

    Args:
        description: becomes the file's metadata, one JSON value per key.
        candidates: P, per image.
        suppression: the other arguments of `add_suppression`, or None.
        winograd: the `growth` of `use_winograd`.

    Returns:
        The number of convolutions that `use_winograd` rewrote.

    Raises:
        RuntimeError: the result is not valid ONNX.
    """
    model = onnx.load(str(path))
    upsample_by_resize(model.graph)
    if description["export_batch"] == 0:
        free_batch(model.graph)
    rewritten = use_winograd(model, winograd) if winograd else 0
    if suppression is None:
        set_outputs(model.graph, candidates)
    else:
        sizes = {"candidates": candidates, "num_classes": num_classes}
        add_suppression(model.graph, **sizes, **suppression)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in description.items()})
    check_model(model)
    onnx.save(model, str(path))
    return rewritten
