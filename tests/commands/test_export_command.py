"""export.py as a user types it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from tests.programs import exported

pytestmark = pytest.mark.slow


def test_export(trained, tmp_path):
    printed = exported(trained, tmp_path / "detector", "--nms=False", "--pre_nms_top_k=70")
    assert "compared with the network on 4 images: 280 candidates equal, within" in printed
    assert "scores (1,70) float32" in printed
    graph = nn.GraphCell(ms.load(str(tmp_path / "detector.mindir")))
    boxes, scores, labels = graph(ms.Tensor(np.zeros((1, 64, 64, 3), np.uint8)))
    assert boxes.shape == (1, 70, 4)
    assert scores.shape == labels.shape == (1, 70)
