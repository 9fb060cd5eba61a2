"""export.py as a user types it."""

import signal
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.prediction.detector import Detector
from tests.conftest import REPOSITORY
from tests.programs import call, checkpoint, run, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]


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


@pytest.mark.parametrize("suffix", [".onnx", ".mindir"])
def test_ctrl_c_leaves_no_files(trained, tmp_path, suffix):
    process = subprocess.Popen(
        [sys.executable, "export.py", checkpoint(trained), f"--file_name={tmp_path}/a{suffix}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background ignores Ctrl-C, and its children would
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: any(tmp_path.glob(".a.*/*")), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("\nSIGINT: exiting at once\n")
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_file(trained, shapes, tmp_path):
    """Of 8 bits, with images of the run's own splits; then used in every way."""
    path = tmp_path / "small.onnx"
    few = ["--calibrate_on=4", "--judge_on=6", "--max_ap_fall=1"]
    low = "--score_threshold=0.001"
    flags = [checkpoint(trained), low, f"--file_name={path}", "--quantize=int8", *few]
    printed = call("export", *flags)
    assert "compared with the network on 4 images" in printed
    assert "then quantized to int8, calibrated on 4 images of " in printed
    assert "on 6 images of " in printed
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size < trained[1].joinpath("ckpt", "best.ckpt").stat().st_size / 2
    call("eval", f"--config_path={trained[0]}", f"--model={path}", f"--output_path={tmp_path}")
    images = sorted((shapes / "val2017").glob("*.jpg"))[:2]
    detector = Detector.load(path)
    done = run("examples/detect_onnx.py", path, *images)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == sum(len(found.scores) for found in detector(images)) > 0
