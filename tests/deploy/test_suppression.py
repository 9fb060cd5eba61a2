"""Suppression in MindSpore's graph and as ONNX nodes, both against brute force."""

import mindspore as ms
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from src.deploy.export_cells import Suppression
from src.deploy.formats import OUTPUTS
from src.deploy.onnx_graph import CANDIDATE, add_suppression
from tests.deploy.cases import CLASSES, DETECTIONS, MAX_IOU, THRESHOLD, P, cases, expected

SETTINGS = {"score_threshold": THRESHOLD, "nms_iou": MAX_IOU, "max_detections": DETECTIONS}


@pytest.fixture(scope="module", params=[False, True], ids=["by class", "agnostic"])
def cell(request):
    """All cases are one batch, so that one compilation serves them."""
    return request.param, Suppression(P, class_agnostic=request.param, **SETTINGS).set_train(False)


def check_outputs(outputs, class_agnostic):
    for row, (name, case) in enumerate(cases().items()):
        for found, wanted in zip(outputs, expected(case, class_agnostic=class_agnostic)):
            np.testing.assert_array_equal(found[row], wanted, err_msg=name)


def test_in_mindspore(cell):
    class_agnostic, suppress = cell
    batch = (np.stack(arrays) for arrays in zip(*cases().values()))
    outputs = suppress(*map(ms.Tensor, batch))
    check_outputs([output.asnumpy() for output in outputs], class_agnostic)


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_as_onnx_nodes(class_agnostic):
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    inputs = [
        helper.make_tensor_value_info(CANDIDATE + name, kind, ["batch", P, *rest])
        for name, kind, rest in zip(OUTPUTS, kinds, ([4], [], []))
    ]
    graph = helper.make_graph([], "suppression", inputs, [])
    add_suppression(
        graph, candidates=P, num_classes=CLASSES, class_agnostic=class_agnostic, **SETTINGS
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model, full_check=True)
    assert sum(node.op_type == "NonMaxSuppression" for node in graph.node) == 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    batch = [np.stack(arrays) for arrays in zip(*cases().values())]
    feed = {value.name: array for value, array in zip(inputs, batch)}
    check_outputs(session.run(list(OUTPUTS), feed), class_agnostic)
    # one image alone, and as many rows as there are candidates at most
    alone = session.run(None, {name: array[:1] for name, array in feed.items()})
    assert [output.shape for output in alone] == [(1, DETECTIONS, 4), (1, 12), (1, 12)]


def test_more_detections_than_candidates():
    suppress = Suppression(
        4, score_threshold=0.0, nms_iou=0.5, class_agnostic=False, max_detections=100
    )
    boxes = np.float32([[0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 2, 2]])
    outputs = suppress(
        ms.Tensor(boxes[None]),
        ms.Tensor(np.float32([[0.9, 0.8, 0.7, 0.6]])),
        ms.Tensor(np.int32([[0, 0, 0, 1]])),
    )
    scores, labels = (output.asnumpy()[0] for output in outputs[1:])
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.6, 0])
    assert labels.tolist() == [0, 0, 1, -1]
