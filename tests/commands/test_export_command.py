"""export.py as a user types it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from tests.programs import checkpoint, run

pytestmark = pytest.mark.slow


def test_export(trained, tmp_path):
    path = tmp_path / "detector"
    flags = [f"--config_path={trained[0]}", checkpoint(trained), f"--file_name={path}"]
    process = run("export.py", *flags, "--nms=False", "--pre_nms_top_k=70")
    assert process.returncode == 0, process.stderr
    assert "compared with the network on 4 images: 280 candidates equal, within" in process.stdout
    assert "scores (1,70) float32" in process.stdout
    graph = nn.GraphCell(ms.load(f"{path}.mindir"))
    boxes, scores, labels = graph(ms.Tensor(np.zeros((1, 64, 64, 3), np.uint8)))
    assert boxes.shape == (1, 70, 4)
    assert scores.shape == labels.shape == (1, 70)


def test_the_checkpoint_alone(exported):
    """Data, classes and network are those of the run."""
    _, printed = exported
    assert "compared with the network on 4 images" in printed
    assert "with its classes and thresholds in its metadata" in printed
