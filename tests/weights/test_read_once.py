"""How often the programs open a checkpoint, whose weights may be hundreds of megabytes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from src.config.configuration import make_config
from src.config.open_keys import settled
from src.detection.anchors import build_anchors
from src.distributed.ranks import Ranks
from src.evaluation.run import recorded_layer
from src.models.ssd import build_ssd
from src.prediction.network_model import load_network
from src.prediction.recorded import device_line, export_layer, training_layer
from src.weights.checkpoint_config import parsed_config, recorded_config
from src.weights.checkpoint_file import read_checkpoint, write_detector
from src.weights.starting_weights import build_network, fill_open_keys

pytestmark = pytest.mark.usefixtures("narrow")

ONCE = 3  # for the configuration, for the mark of a checksum, for the weights
opened: list[str] = []  # paths that Python opens
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))


@pytest.fixture
def cfg(tmp_path):
    """The configuration of a detector in `checkpoint_path`, which is written."""
    keys = {"classes": ["a", "b"], "backbone": "resnet18", "fpn_channels": 16, "head_depth": 1}
    cfg = settled(make_config([(keys, "test")]), {})
    path = tmp_path / "ckpt" / "a.ckpt"
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    arrays = {name: p.asnumpy() for name, p in network.parameters_dict().items()}
    write_detector(path, arrays, cfg.to_yaml())
    return cfg.replace(checkpoint_path=str(path))


def opens(path: str, work: Callable[[], object]) -> int:
    """How often `work` opens the file, as in a process of its own."""
    parsed_config.cache_clear()
    opened.clear()
    work()
    return opened.count(path)


def test_evaluation_reads_once(cfg):
    def work():
        recorded_layer({"checkpoint_path": cfg.checkpoint_path})
        device_line(cfg)
        load_network(cfg)
        assert "class_loss" in recorded_config(cfg.checkpoint_path)

    assert opens(cfg.checkpoint_path, work) == ONCE


def test_export_reads_once(cfg):
    def work():
        export_layer({"checkpoint_path": cfg.checkpoint_path})
        device_line(cfg)
        arrays = read_checkpoint(cfg.checkpoint_path)
        for _ in range(3):  # to run, to export, to export without suppression
            load_network(cfg, arrays)

    assert opens(cfg.checkpoint_path, work) == ONCE


def test_finetuning_reads_once(cfg):
    path, lines = cfg.checkpoint_path, []

    def work():
        training_layer({"finetune": path})
        filled = fill_open_keys(cfg.replace(finetune=path), None, lines.append, Ranks())
        build_network(filled, build_anchors(filled).anchors_per_cell, lines.append)

    assert opens(path, work) == ONCE
    assert lines[-1].endswith("all 2 classes keep their weights, by name")


def test_a_file_that_has_changed_is_read_again(cfg):
    path = cfg.checkpoint_path
    assert recorded_config(path)["classes"] == ["background", "a", "b"]
    write_detector(Path(path), {}, cfg.replace(classes=["c", "d"]).to_yaml())
    assert recorded_config(path)["classes"] == ["background", "c", "d"]
    os.unlink(path)
    assert recorded_config(path) == {}
