"""A detector that finds many objects, as a checkpoint and as exported files."""

from pathlib import Path

import numpy as np
import pytest

from src.config.configuration import make_config, read_recipe
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import describe
from src.detection.anchors import build_anchors
from src.models.ssd import build_ssd
from src.training.checkpoints import write_checkpoint
from tests.conftest import DEMO_RECIPE, made_once, narrowed, small_keys
from tests.networks import excite

LOW = 0.3  # a score that some hundreds of predictions of the excited network reach


@pytest.fixture(scope="session")
def trained(shapes, tmp_path_factory):
    """A configuration with a checkpoint that detects many objects, and exported files."""

    def make(folder: Path) -> None:
        anchors = build_anchors(cfg)
        with narrowed():
            network = excite(build_ssd(cfg, anchors.anchors_per_cell))
        info = {"epoch": 1, "step": 6}
        write_checkpoint(folder / "last.ckpt", network.parameters_dict(), cfg.to_yaml(), info)
        images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
        truth = run_network(network, images, "")
        for file_format, nms in (("MINDIR", False), ("ONNX", True)):
            description = describe(cfg.replace(score_threshold=LOW, eval_batch_size=1, nms=nms))
            path = folder / f"detector.{file_format.lower()}"
            exporter = Exporter(anchors.boxes(cfg.image_size), description)
            exporter.export(lambda: network, truth, path, file_format)

    keys = small_keys(shapes, tmp_path_factory.mktemp("detector"))
    cfg = make_config([(read_recipe(str(DEMO_RECIPE)), "demo"), (keys, "")])
    folder = made_once(tmp_path_factory, "detector_files", make)
    path = str(folder / "last.ckpt")
    return cfg.replace(checkpoint_path=path, score_threshold=LOW, eval_batch_size=1), folder
