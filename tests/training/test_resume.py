"""A run that is stopped and killed in every way ends as one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.training import setup
from tests.conftest import REPOSITORY, small_keys, write_recipe
from tests.programs import call

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]

NOT_COMPARED = ("images_per_second", "data_share", "seconds", "peak_memory_gb")
PATIENCE = 120  # seconds until a process that should do something is given up


def flags(recipe: Path, output: Path, *more: str) -> list[str]:
    return [f"--config_path={recipe}", f"--output_path={output}", *more]


def start(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own
        # a test run in the background ignores Ctrl-C, and its children would
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def records(output: Path, kind: str) -> list[dict]:
    """Whole records of a kind in metrics.jsonl."""
    path = output / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    found = [json.loads(line) for line in text.split("\n")[:-1]]
    return [record for record in found if record["kind"] == kind]


def stop_after(
    process: subprocess.Popen, output: Path, step: int, signum: int, *, group: bool = False
) -> None:
    """Sends the signal as soon as the run has logged the step, to its workers too if `group`."""
    deadline = time.monotonic() + PATIENCE
    while not any(record["step"] >= step for record in records(output, "step")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if group:
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)


def contents(path: Path) -> dict:
    """Arrays and state of a checkpoint."""
    return {
        name: value.asnumpy() if isinstance(value, ms.Tensor) else value
        for name, value in ms.load_checkpoint(str(path), crc_check=True).items()
    }


@pytest.fixture(scope="module")
def recipe(shapes, tmp_path_factory):
    """A recipe with all that has a state: averages, a dynamic loss scale, evaluations."""
    folder = tmp_path_factory.mktemp("resume")
    keys = {
        **small_keys(shapes, folder),
        "ema_decay": 0.9,
        # half the time to compile
        "freeze_backbone_stages": 4,
        "head_depth": 0,
        "dynamic_loss_scale": True,
        "loss_scale": 64,
        "loss_scale_window": 5,
        "accumulate": 2,
        "epoch_size": 4,  # of three updates
        "warmup_epochs": 1,
        "eval_interval": 2,
        "keep_checkpoints": 2,
        "log_interval": 1,
    }
    return write_recipe(folder / "recipe.yaml", keys)


@pytest.fixture(scope="module")
def uninterrupted(recipe):
    """The folder of a run that nothing happens to."""
    output = recipe.parent / "whole"
    process = start("train.py", *flags(recipe, output))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def stop_by_signals(recipe: Path, output: Path, step: int) -> None:
    """Stops a run by SIGTERM after its first step, and resumed by Ctrl-C after `step`."""
    process = start("train.py", *flags(recipe, output, "--save_minutes=0"))
    stop_after(process, output, 1, signal.SIGTERM, group=True)
    out, errors = process.communicate()
    assert process.returncode == 143, errors
    assert "SIGTERM: saved" in out
    assert "Traceback" not in errors
    stopped_at = int(contents(output / "ckpt" / "last.ckpt")["run.step"])
    assert 1 <= stopped_at == records(output, "step")[-1]["step"]

    recipe = output / "config.yaml"
    resume = flags(recipe, output, "--resume=True", "--save_minutes=0")
    process = start("train.py", *resume)
    stop_after(process, output, max(step, stopped_at + 1), signal.SIGINT)
    out, errors = process.communicate()
    assert process.returncode == 130, errors
    assert f"(step {stopped_at} of 12)" in out
    assert "SIGINT: saved" in out
    assert "Traceback" not in errors


def kill(output: Path, step: int) -> None:
    """Resumes a run that saves each update, and kills it after `step`, in a save perhaps."""
    every_step = ["--resume=True", "--save_minutes=0.00001"]
    process = start("train.py", *flags(output / "config.yaml", output, *every_step))
    stop_after(process, output, step, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def assert_same(whole: Path, resumed: Path) -> None:
    """Compares the records and checkpoints of two runs, to the last bit."""
    for kind in ("step", "epoch", "evaluation"):
        runs = [
            [{k: v for k, v in record.items() if k not in NOT_COMPARED} for record in found]
            for found in (records(whole, kind), records(resumed, kind))
        ]
        assert len(runs[0]) == {"step": 12, "epoch": 4, "evaluation": 2}[kind]
        assert runs[0] == runs[1]
    names = sorted(p.name for p in (whole / "ckpt").iterdir())
    assert names == ["best.ckpt", "epoch_03.ckpt", "epoch_04.ckpt", "last.ckpt"]
    assert sorted(p.name for p in (resumed / "ckpt").iterdir()) == names
    for name in names:
        one, other = (contents(folder / "ckpt" / name) for folder in (whole, resumed))
        assert one.keys() == other.keys()
        assert any(key.startswith("ema.") for key in one) == (name != "best.ckpt")
        for key, value in one.items():
            if key == "run.config":  # where it was written to differs
                assert "resume: false" in other[key]
            else:
                assert np.array_equal(value, other[key]), (name, key)


def test_stopped_and_killed_run_ends_as_one_left_alone(recipe, uninterrupted):
    output = recipe.parent / "killed"
    seed = random.randrange(1000)
    print("seed", seed)  # pytest shows it if the test fails
    first, second = sorted(random.Random(seed).sample(range(3, 6), 2))
    stop_by_signals(recipe, output, first)
    kill(output, second + 2)
    process = start("train.py", *flags(output / "config.yaml", output, "--resume=True"))
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert out.splitlines()[-1].startswith("done, best AP ")
    assert_same(uninterrupted, output)


def test_finished_run_says_so_again(uninterrupted, monkeypatch):
    monkeypatch.setattr(setup, "compile_graphs", lambda cfg, trainer: None)  # none is needed
    before = (uninterrupted / "metrics.jsonl").read_text()
    resume = flags(uninterrupted / "config.yaml", uninterrupted, "--resume=True")
    printed = call("train", *resume)
    assert printed.splitlines()[-1].startswith("done, best AP ")
    assert "bottleneck" not in printed  # nothing was timed
    assert (uninterrupted / "metrics.jsonl").read_text() == before
