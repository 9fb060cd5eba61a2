"""Every script and row of benchmarks/ at toy size: what it prints, and relations that must hold.

Those that time training, inference*.py, quantized.py, ladder.py, learning.py, scaling.py and
small_data.py are in files of their own.

The peers' own code, torchvision's, is not run: PyTorch is not among the requirements. In its place
`peer` answers as it would, so that what our side does with a peer's answers is tested.
"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    annotations,
    assign,
    evaluation,
    input_pipeline,
    postprocess,
    tiles,
)
from benchmarks.common import configure
from benchmarks.drawn_large import draw_large, draw_training
from src.detection.anchors import build_anchors
from src.models.ssd import build_ssd
from src.training.checkpoints import write_checkpoint
from tests.conftest import REPOSITORY
from tests.networks import excite
from tests.printed_rows import NETWORK, SIZE

pytestmark = pytest.mark.usefixtures("narrow")

SCRIPTS = sorted(
    path.name for path in (REPOSITORY / "benchmarks").glob("*.py") if "__main__" in path.read_text()
)
ANCHORS = 516  # at 64 px: six at each cell of the levels of 8, 4, 2, 1 and 1 cells a side


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_of_a_script(name):
    """As a user starts it, without the repository in the path."""
    command = [sys.executable, f"benchmarks/{name}", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    first_line = (REPOSITORY / "benchmarks" / name).read_text().split("\n")[0]
    assert first_line.strip('"') in done.stdout


def test_annotations(run_script, tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "RANKS", 2)
    folder = f"--folder={tmp_path / 'data'}"
    row = run_script(annotations, folder, "--images=50", "--boxes=200")["annotations"]
    assert (row["first"]["parsed"], row["cached"]["parsed"]) == (1, 0)
    assert (row["ranks"]["number"], row["ranks"]["parsed"]) == (2, 1)
    assert {row[name]["images"] for name in ("first", "cached", "pycocotools")} == {50}
    assert min(row["first"]["resident_mb"], row["first"]["peak_mb"], row["json_mb"]) >= 0
    assert row["ranks"]["seconds"] > 0
    written = json.loads((tmp_path / "data/annotations/instances_train2017.json").read_text())
    assert (len(written["annotations"]), len(written["categories"])) == (200, 80)


def test_assign(run_script):
    rows = run_script(assign, "--image_size=64", "--repeats=3")
    for name, anchors in (("assign_max_iou", ANCHORS), ("assign_atss", ANCHORS // 6)):
        row = rows[name]
        assert (row["anchors"], row["objects"]) == (anchors, 7)
        assert 7 <= row["positives"] < anchors
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]


def test_input_pipeline(run_script, peer):
    row = run_script(
        input_pipeline, "--repeats=1", "--images=16", "--image_size=64", f"--peer={peer}"
    )
    row = row["input_pipeline"]
    # an image, its anchors' objects, and boxes and labels of 7 objects
    assert row["bytes_shipped_per_image"] == pytest.approx(64 * 64 * 3 + 4 * ANCHORS, rel=0.02)
    assert 80_000 < row["mean_file_bytes"] < 120_000
    assert {"read_and_decode", "min_iou_crop", "resize", "photometric", "assign_7_objects"} <= set(
        row["stage_milliseconds"]
    )
    speeds = ("images_per_core_second", "images_per_core_second_ssd_expand",
              "images_per_second_one_worker", "images_per_second_two_workers",
              "peer_images_per_core_second")  # fmt: skip
    assert min(row[speed] for speed in speeds) > 0
    low, high = row["second_core_range"]
    assert low <= row["second_core"] <= high
    ratio = row["images_per_core_second"] / row["peer_images_per_core_second"]
    assert row["ssd_over_peer"] == pytest.approx(ratio, rel=0.05, abs=0.01)


def test_postprocess(run_script):
    rows = run_script(postprocess, "--repeats=1", "--cases=3", "--image_size=64")
    times, found = (rows["postprocess"][key] for key in ("median_and_max_ms", "detections"))
    kinds = ("nothing", "300 above", "1,000 above", "10,000 above", "all above", "equal")
    assert list(times) == [f"{how}, {kind}" for how in ("hard", "soft") for kind in kinds]
    assert all(0 < median <= largest for median, largest in times.values())
    assert {name: count for name, count in found.items() if count != 100} == {
        "hard, nothing": 0,
        "soft, nothing": 0,
    }
    row = rows["postprocess suppression"]
    assert (row["boxes"], row["cases"], row["that_differ"]) == (1000, 3, 0)
    assert set(row["median_ms"]) == {"opencv", "all kept", "100 kept"}


def test_evaluation_metric(run_script):
    row = run_script(evaluation, "--rows", "metric", "--rounds=1", "--metric_images=20")
    row = row["evaluation metric"]
    assert (row["images"], row["detections"]) == (20, 2000)
    assert 0.05 < row["faster"]["AP"] < 0.95
    assert row["faster"]["AP"] == pytest.approx(row["pycocotools"]["AP"], abs=1e-12)
    assert min(row[name]["peak_gb"] for name in ("faster", "pycocotools")) > 0.01


@pytest.mark.slow
def test_evaluation_detection(run_script):
    rows = run_script(evaluation, "--rows", "whole", "tta", "loss", "--rounds=1", "--images=4",
               SIZE, "--num_workers=1", *NETWORK)  # fmt: skip
    row = rows["evaluation whole"]
    assert row["images_per_s"] > 0
    assert set(row["waited_for_percent"]) == {"reading", "network", "post-processing"}
    assert 0 < sum(row["waited_for_percent"].values()) <= 100.5
    assert set(row["cpu_ms_an_image"]) == {"all", "reading", "post-processing"}
    assert row["cpu_not_network_percent"] > 0
    row = rows["evaluation loss"]
    one, other = (row["cpu_ms_an_image"][name] for name in ("with", "without"))
    rounded = 0.51  # a whole number of milliseconds is printed
    least, most = (one - rounded) / (other + rounded), (one + rounded) / (other - rounded)
    assert least <= row["times_as_much"] <= most
    row = rows["evaluation tta"]
    assert row["times_as_long"]["none"] == 1
    for name in ("flip", "scales"):
        ratio = row["images_per_s"]["none"] / row["images_per_s"][name]
        assert row["times_as_long"][name] == pytest.approx(ratio, rel=0.02, abs=0.01)


@pytest.mark.slow
def test_evaluation_memory(run_script, monkeypatch, capsys):
    """A process that detects in two images, and the row of two such processes."""
    evaluation.main(["--peak=2"])
    assert json.loads(capsys.readouterr().out)["peak_mb"] > 100
    monkeypatch.setattr(evaluation, "start", lambda script, flag, images: (flag, images))
    monkeypatch.setattr(evaluation, "result", lambda started: {"peak_mb": 200 + started[1] / 4})
    row = run_script(evaluation, "--rows", "memory", "--memory_images", "2", "6")
    assert row["evaluation memory"] == {"peak_mb": {"2": 200.5, "6": 201.5}, "kb_an_image": 250}


@pytest.mark.usefixtures("narrow")
def test_tiles(run_script, tmp_path, monkeypatch):
    """With a network that detects something everywhere, and training that only notes its flags."""
    commands = []

    def train(command, **_):
        commands.append(command)
        cfg = configure([*command[2:], "--fpn_channels=16", "--head_depth=1"])
        network = excite(build_ssd(cfg, build_anchors(cfg).anchors_per_cell))
        write_checkpoint(
            Path(cfg.output_path) / "ckpt" / "last.ckpt", network.parameters_dict(), cfg.to_yaml(),
            {"epoch": 1, "step": 1},
        )  # fmt: skip

    monkeypatch.setattr(tiles.subprocess, "run", train)
    monkeypatch.setattr(tiles, "SETTINGS", {"whole": (64, {}), "tiles_320": (64, {"tiles": 320})})
    flags = [f"--folder={tmp_path}", "--seeds=2", "--images=2", "--side=500", "--train_images=8"]
    rows = run_script(tiles, *flags, "--settings", "whole", "tiles_320", "--score_threshold=0.4")
    (one, other) = (configure(command[2:]) for command in commands)
    assert (one.seed, other.seed, one.image_size, one.epoch_size) == (1, 2, (160, 160), 4)
    row, seeds = rows["tiles tiles_320"], [rows[f"tiles tiles_320 seed{n}"] for n in (1, 2)]
    assert row["seeds"] == 2 and row["cpu_seconds"] > 0
    ratio = row["cpu_seconds"] / rows["tiles whole"]["cpu_seconds"]
    assert row["times_whole"] == pytest.approx(ratio, abs=0.01)
    assert row["AP"] == pytest.approx(np.mean([seed["AP"] for seed in seeds]), abs=1e-4)
    run_script(tiles, *flags, "--settings", "whole", "--score_threshold=0.4")
    assert len(commands) == 2  # the checkpoints are there


def test_drawn_large_images():
    """Every object is where its box is, of the sides that are asked for, and touches no other."""
    for draw, least, most in (
        (partial(draw_large, side=640), 12 / 1.5, 480),
        (draw_training, 8, 120),
    ):
        image, objects = draw(3, 1)
        assert len(objects) > 3
        taken = np.zeros(image.shape[:2], bool)
        for item in objects:
            x, y, w, h = map(int, item["bbox"])
            assert least - 1 <= w <= most and least - 1 <= h <= most
            assert not taken[y : y + h, x : x + w].any()
            taken[y : y + h, x : x + w] = True
            assert 0 < item["area"] <= w * h
    sides = [max(item["bbox"][2:]) for item in draw_large(0, 0)[1]]
    assert sum(side > 190 for side in sides) in (1, 2, 3)
    assert all(11 <= side <= 41 for side in sides if side < 190) and len(sides) > 25
