import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src import deploy
from src.deploy import LOADERS, DeployedDetector, export
from src.detection.anchors import build_anchors
from src.detection.boxes import clip, decode
from src.errors import InputError
from src.models.ssd import build_ssd


@pytest.fixture
def detector(small):
    generator = build_anchors(small)
    network = build_ssd(small, generator.boxes_per_cell)
    # wild outputs, so that clipping and the size cap are used
    rng = np.random.default_rng(0)
    for head in (network.box_head, network.class_head):
        shape = head.predictor.weight.shape
        head.predictor.weight.set_data(ms.Tensor(rng.normal(0, 2, shape).astype(np.float32)))
    anchors = generator.boxes(small.image_size)
    return DeployedDetector(network, anchors, small.image_size).set_train(False)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)


def test_graph_decodes_as_numpy_does(small, detector, images):
    boxes, scores = (output.asnumpy() for output in detector(ms.Tensor(images)))
    deltas, logits = (output.asnumpy() for output in detector.network(ms.Tensor(images)))
    anchors = build_anchors(small).boxes(small.image_size)
    expected = clip(decode(deltas[0], anchors), 64, 64)
    np.testing.assert_allclose(boxes[0], expected, atol=1e-3)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits.astype(np.float64))), atol=1e-6)
    assert boxes.min() == 0
    assert boxes.max() == 64


# ONNX Runtime adds up in another order, which the wild outputs of the fixture make visible
@pytest.mark.parametrize(("file_format", "pixels"), [("MINDIR", 1e-4), ("ONNX", 1e-2)])
def test_exported_file_gives_the_same(detector, images, tmp_path, file_format, pixels):
    path = tmp_path / f"detector.{file_format.lower()}"
    differences = export(detector, images, path, file_format)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644
    assert set(differences) == {"boxes", "scores"}
    assert differences["boxes"] <= pixels
    assert differences["scores"] <= 1e-4
    other = np.random.default_rng(2).integers(0, 256, images.shape, dtype=np.uint8)
    for found, wanted in zip(LOADERS[file_format](path)(other), detector(ms.Tensor(other))):
        np.testing.assert_allclose(found, wanted.asnumpy(), atol=pixels)


@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_a_file_of_something_else(tmp_path, file_format):
    path = tmp_path / f"detector.{file_format.lower()}"
    path.write_bytes(b"no graph" * 50)
    with pytest.raises(InputError, match=f"not an? {file_format} file"):
        LOADERS[file_format](path)


@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_a_file_that_differs_is_not_left(detector, images, tmp_path, monkeypatch, error):
    class Wrong(nn.GraphCell):
        def __call__(self, images):
            boxes, scores = super().__call__(images)
            return boxes, scores + error

    path = tmp_path / "detector.mindir"
    path.write_bytes(b"an older export")
    monkeypatch.setattr(deploy.nn, "GraphCell", Wrong)
    with pytest.raises(RuntimeError, match="scores of the exported file differ"):
        export(detector, images, path, "MINDIR")
    assert [p.name for p in tmp_path.iterdir()] == ["detector.mindir"]
    assert path.read_bytes() == b"an older export"
