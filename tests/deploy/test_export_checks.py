"""What an export refuses and leaves behind, with two convolutions in place of a detector."""

import resource

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.deploy import exporter as export_module
from src.deploy.exported import load_exported
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import CLASSES, describe, read_description
from src.detection.anchors import build_anchors
from src.runtime.errors import InputError, NotFinite, RunError
from tests.deploy.test_exporter import IMAGES


class Grid(nn.Cell):
    """Two convolutions in place of a detector, where what is exported does not matter."""

    num_classes = 4

    def __init__(self, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.boxes, self.classes = (self.conv(rng) for _ in range(2))

    def conv(self, rng):
        """One of six anchors, with four numbers each, at each of 8 x 8 cells."""
        layer = nn.Conv2d(3, 24, 8, stride=8, pad_mode="valid", has_bias=True, bias_init="zeros")
        layer.weight.set_data(ms.Tensor(rng.normal(0, 0.1, layer.weight.shape).astype(np.float32)))
        return layer

    def construct(self, images):
        x = ops.cast(images, ms.float32).transpose(0, 3, 1, 2) / 255 - 0.5
        return self.rows(self.boxes(x)), self.rows(self.classes(x))

    def rows(self, x):
        return x.transpose(0, 2, 3, 1).reshape(x.shape[0], -1, 4)  # (N,384,4)


@pytest.fixture(scope="module")
def grid():
    """It is compiled once."""
    return Grid().set_train(False)


@pytest.fixture(scope="module")
def truth(grid):
    """Its predictions for three images, on which thresholds have no influence."""
    return run_network(grid, IMAGES, "")


def export_grid(cfg, truth, path, *, seed=0, winograd=0):
    """The grid's file at `path`, in the format of its suffix; the outcome of the export."""
    asked = Exporter(build_anchors(cfg).levels(cfg.image_size)[0], describe(cfg), winograd)
    file_format = path.suffix[1:].upper()
    return asked.export(lambda: Grid(seed).set_train(False), truth, path, file_format)


class Wrong:
    """A loader whose file scores a little higher, or is not a number."""

    def __init__(self, error):
        self.error = error

    def __call__(self, path, description):
        model = load_exported(path, description)
        run = model.run

        def changed(images):
            boxes, scores, labels = run(images)
            return boxes, scores + np.float32(self.error), labels

        model.run = changed
        return model


@pytest.mark.parametrize(
    ("file_format", "error", "message"),
    [
        ("MINDIR", 0.001, "does not find what the network finds, and was not kept"),
        ("ONNX", float("nan"), "nan among the scores"),
    ],
)
def test_a_file_that_differs_is_not_left(
    base, truth, tmp_path, monkeypatch, file_format, error, message
):
    path = tmp_path / f"detector.{file_format.lower()}"
    path.write_bytes(b"an older export")
    monkeypatch.setattr(export_module, "load_exported", Wrong(error))
    with pytest.raises(RunError, match=message):
        export_grid(base, truth, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"an older export"


@pytest.mark.parametrize("file_format", ["ONNX", "MINDIR"])
def test_a_full_disk_names_the_file(base, truth, tmp_path, file_format):
    path = tmp_path / f"a.{file_format.lower()}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # bytes of a file
    try:
        with pytest.raises(OSError) as failed:
            export_grid(base, truth, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_older_network_s_truth_is_a_mismatch(base, truth, tmp_path):
    with pytest.raises(RunError, match="image 1: only the network finds label"):
        export_grid(base, truth, tmp_path / "a.onnx", seed=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_candidates_are_compared_where_nothing_is_detected(base, truth, tmp_path, file_format):
    path = tmp_path / f"a.{file_format.lower()}"
    outcome = export_grid(base.replace(score_threshold=0.99), truth, path)
    assert outcome.by_candidates
    assert outcome.rows == 50
    assert outcome.comparison.compared == 3 * 200
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, path.name + ".yaml"}
    assert read_description(path)["nms"] is True


def test_the_target_of_a_link_needs_no_suffix(base, truth, tmp_path):
    link, target = tmp_path / "a.onnx", tmp_path / "v1.2"
    link.symlink_to(target.name)
    outcome = export_grid(base.replace(score_threshold=0.99), truth, link)
    assert outcome.by_candidates
    assert link.is_symlink() and read_description(link)["nms"] is True
    assert {path.name for path in tmp_path.iterdir()} == {link.name, target.name}


def test_candidates_that_differ_where_nothing_is_detected(base, truth, tmp_path):
    cfg = base.replace(score_threshold=0.99)
    with pytest.raises(RunError, match="does not find what the network finds"):
        export_grid(cfg, truth, tmp_path / "b.onnx", seed=5)
    assert not (tmp_path / "b.onnx").exists()


def test_a_network_that_gives_no_numbers(grid):
    weight = grid.classes.weight
    sound = weight.value().copy()
    weight.set_data(sound * float("nan"))
    with pytest.raises(NotFinite, match=r"last\.ckpt: the network's outputs for image 1"):
        run_network(grid, IMAGES, "last.ckpt")
    weight.set_data(sound)


def test_a_network_without_convolutions_for_winograd(base, truth, tmp_path):
    outcome = export_grid(base, truth, tmp_path / "a.onnx", winograd=10)
    assert outcome.notes == ["0 convolutions by Winograd's method"]


def test_a_batch_whose_rows_are_mixed_up_is_refused(base, truth, tmp_path, monkeypatch):
    """Each row of a batch gets another image."""

    def mixing(path, description):
        model = load_exported(path, description)
        run = model.run
        model.run = lambda images: run(images[::-1])
        return model

    monkeypatch.setattr(export_module, "load_exported", mixing)
    for batch in (0, 2):
        with pytest.raises(RunError, match="does not find"):
            export_grid(base.replace(export_batch=batch), truth, tmp_path / "a.onnx")


@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_a_file_of_something_else(base, tmp_path, file_format):
    path = tmp_path / f"detector.{file_format.lower()}"
    path.write_bytes(b"no graph" * 50)
    description = {**describe(base), CLASSES: list(base.classes)}
    with pytest.raises(InputError, match=f"not an? {file_format} file"):
        load_exported(path, description)


def test_images_go_through_in_batches_of_the_file(base, truth, tmp_path):
    """A batch that is not full is padded, and the padding's detections are dropped."""
    path = tmp_path / "a.onnx"
    export_grid(base.replace(export_batch=2, nms=False), truth, path)
    model = load_exported(path, read_description(path))
    together = model.forward(IMAGES)
    for index in range(3):
        for alone, row in zip(model.forward(IMAGES[index : index + 1]), together):
            np.testing.assert_allclose(alone[0], row[index], atol=1e-4)
