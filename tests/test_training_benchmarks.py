"""Scripts of benchmarks/ that time training: what they print, and relations that must hold."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import (
    run_costs,
    start,
    train_step,
    update_parts,
)
from benchmarks.updates import build_update, make_boxes
from src.models.layers import statistics
from tests.printed_rows import FROZEN, NETWORK, SIZE

pytestmark = pytest.mark.usefixtures("narrow")

TRAIN = """import sys
print("compiled in 1.0 s")
print("{line}")
assert sys.argv[1:] == ["--lr=1", "--max_steps=1", "--eval_interval=10"], sys.argv
"""


def test_first_update_of_a_run(monkeypatch, tmp_path):
    """Of a train.py that only prints; test_costs_of_a_run has the line that a run logs."""
    monkeypatch.setattr(start, "REPOSITORY", tmp_path)
    clock = iter([10.0, 13.5, 20.0, 21.0, 30.0])
    monkeypatch.setattr(start, "time", SimpleNamespace(perf_counter=clock.__next__))
    script = tmp_path / "train.py"
    script.write_text(TRAIN.format(line=f"12:00 {start.FIRST_UPDATE} in 3.0 s"))
    assert start.first_update_seconds("--lr=1") == 3.5
    with pytest.raises(RuntimeError, match=r"train.py --lr=2 .* ended with status 1"):
        start.first_update_seconds("--lr=2")
    script.write_text(TRAIN.format(line="nothing"))
    with pytest.raises(RuntimeError, match=r"ended with status 0"):
        start.first_update_seconds("--lr=1")


def test_start(run_script, monkeypatch):
    """Medians of three pairs, each in a folder of its own, with drawn images."""
    seconds, runs = iter([8.0, 2.0, 6.0, 3.0, 9.0, 1.0]), []

    def first_update_seconds(*flags):
        root, output = (
            Path(flag.partition("=")[2])
            for name in ("--coco_root", "--output_path")
            for flag in flags
            if flag.startswith(name)
        )
        runs.append((len(list(root.glob("train2017/*"))), output, flags[0], flags[2]))
        return next(seconds)

    monkeypatch.setattr(start, "first_update_seconds", first_update_seconds)
    row = run_script(start, "--images=3", "--lr=1")["start"]
    recipe = "config/ssd_resnet50_fpn_demo.yaml"
    expected = {"config_path": recipe, "first_seconds": 8, "second_seconds": 2, "ratio": 4}
    assert row == expected
    assert {(images, *flags) for images, _, *flags in runs} == {
        (3, f"--config_path={recipe}", "--lr=1")
    }
    outputs = [output for _, output, *_ in runs]
    assert outputs[::2] == outputs[1::2] and len(set(outputs)) == 3


@pytest.mark.slow
def test_train_step(run_script, peer):
    row = run_script(train_step, "--rows", "step", "--image_size=64", "--batch_size=1", "--steps=1",
              f"--peer={peer}", *NETWORK)["train_step"]  # fmt: skip
    assert (row["image_size"], row["batch_size"], row["classes"]) == (64, 1, 80)
    assert 117_000 < row["parameters"] < 120_000  # a narrow ResNet-18's, nearly
    assert row["forward_gflops_per_image"] > 0
    assert row["first_step_seconds"] > 0 and row["step_seconds"] > 0
    assert row["peer"]["parameters"] == 34
    ours, peer_s = row["peak_memory_gb"], row["peer"]["peak_memory_gb"]  # rounded to 0.01
    ratio = row["ratio_to_peer"]["peak_memory_gb"]
    assert (ours - 0.01) / (peer_s + 0.01) < ratio
    assert ratio * (peer_s - 0.01) < ours + 0.01
    assert min(row["ratio_to_peer"].values()) > 0 and len(row["ratio_to_peer"]) == 4


def test_boxes_of_a_training_image():
    boxes = make_boxes(64, 128)
    assert boxes.shape == (7, 4)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [128, 64]).all()
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides[[0, -1]], [[12.8, 6.4], [84.48, 42.24]], rtol=1e-5)


@pytest.mark.slow
def test_costs_of_a_run(shapes):
    # of more channels than in the other tests: sizes are compared, in whole hundreds of kilobytes
    flags = ["--backbone=resnet18", "--fpn_channels=256", "--head_depth=0", "--num_workers=1",
             "--anchor_size=2"]  # fmt: skip
    with run_costs.running_trainer(64, 1, flags, profile=True) as trainer:
        overhead = run_costs.compare_with_bare(trainer, steps=2)
        done = trainer.step
        memory = run_costs.watch_memory(trainer, steps=3)
        assert (done, trainer.step) == (4, 7)  # two to warm up
        assert start.FIRST_UPDATE in (trainer.log.folder / "log.txt").read_text()
        saving = run_costs.time_saving(trainer)
    assert overhead["bare_step_seconds"] > 0
    assert min(overhead["norm_seconds"], overhead["hooks_seconds"]) > 0
    added = sum(overhead[key] for key in ("norm_seconds", "scaling_averages_and_backup_seconds",
                                          "hooks_seconds"))  # fmt: skip
    ratio = added / overhead["bare_step_seconds"]
    assert overhead["overhead"] == pytest.approx(ratio, rel=0.1, abs=0.01)
    assert memory["early_gb"] > 0.1 and memory["late_gb"] > 0.1
    growth = 1000 * (memory["late_gb"] - memory["early_gb"]) / 2 * 100
    assert memory["growth_mb_per_100_steps"] == pytest.approx(growth, abs=51)
    assert saving["weights"]["seconds"] > 0 and saving["all"]["seconds"] > 0
    # beside the weights their averages and the momentum of each
    ratio = saving["all"]["megabytes"] / saving["weights"]["megabytes"]
    assert ratio == pytest.approx(3, abs=0.05)


@pytest.mark.slow
def test_a_row_in_a_process_of_its_own(run_script):
    rows = run_script(train_step, "--rows", "save", "--memory_size=64", "--batch_size=1",
               "--num_workers=1", *NETWORK)  # fmt: skip
    assert set(rows["train_step: save"]) == {"weights", "all"}


@pytest.mark.parametrize("row, function", [
    ("overhead", "compare_with_bare"), ("memory", "watch_memory"), ("save", "time_saving"),
])  # fmt: skip
def test_rows_of_a_trainer(row, function, capsys, monkeypatch):
    """How rows get their arguments; test_costs_of_a_run has their figures."""
    trainers = []

    @contextmanager
    def running_trainer(*arguments, **_):
        trainers.append(arguments)
        print("a line of the log")
        yield "trainer"

    monkeypatch.setattr(run_costs, "running_trainer", running_trainer)
    monkeypatch.setattr(run_costs, function, lambda trainer, *steps: {"found": [trainer, *steps]})
    sizes = ["--image_size=64", "--memory_size=96", "--batch_size=3"]
    train_step.main(["--row", row, *sizes, "--steps=4", "--memory_steps=5", "--lr=1"])
    printed = json.loads(capsys.readouterr().out)
    assert trainers == [(64 if row == "overhead" else 96, 3, ["--lr=1"])]
    steps = {"overhead": [4], "memory": [5], "save": []}
    assert printed["found"] == ["trainer", *steps[row]]


def test_row_of_an_updates_traffic(capsys, monkeypatch):
    """How it gets its configuration; test_update_parts has its figures."""
    keys = ("image_size", "batch_size", "lr")
    monkeypatch.setattr(update_parts, "traffic", lambda cfg: {key: cfg[key] for key in keys})
    train_step.main(["--row", "traffic", "--image_size=64", "--batch_size=3", "--lr=1"])
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"image_size": [64, 64], "batch_size": 3, "lr": 1}


@pytest.mark.slow
def test_update_parts(run_script, monkeypatch):
    """An update reads once and copies no batch."""
    steps = []

    def remember(cfg):
        step, batches = build_update(cfg)
        steps.append(step)
        return step, batches

    monkeypatch.setattr(update_parts, "build_update", remember)
    flags = [SIZE, "--batch_size=2", "--accumulate=2", "--candidates=50", *NETWORK, FROZEN]
    row = run_script(update_parts, "--steps=1", *flags)["update_parts"]
    assert row["flags"] == flags
    assert (row["copied_mb"], row["waits"], row["messages"]) == (0, 1, 1)
    weights = steps[0].update.optimizer.parameters
    assert row["summed_tensors"] == 1 + len(weights) + len(statistics(steps[0].network))
    assert row["peak_gb"] == 0  # of a card
    assert row["first_update"] > row["whole"] > 0
    assert min(row[part] for part in ("gradients_called", "gradients", "readout", "update")) > 0
    assert min(row["evaluation"][name] for name in ("candidates", "all_outputs")) > 0


def test_memory_of_a_card(monkeypatch):
    monkeypatch.setattr("mindspore.runtime.max_memory_allocated", lambda: 17_900_000_000)
    assert update_parts.card_gigabytes("GPU") == 17.9
    assert update_parts.card_gigabytes("CPU") == 0
