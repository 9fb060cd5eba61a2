"""Runs the command lines as a user types them, in processes of their own or in this one."""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import time
from functools import partial

import pytest

from src.runtime.signals import Interruption
from tests.conftest import REPOSITORY
from tests.networks import shared_network


def run(script, *flags, env=None):
    """The finished process of `python script flags`, started in the repository."""
    command = [sys.executable, script, *map(str, flags)]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, **(env or {})}
    )


def wait_until(happened, process):
    """Waits for `happened()`, a minute at most, while the process runs."""
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def call(script: str, *flags) -> str:
    """What `python script.py flags` prints, run in this process; what it raises is raised.

    Networks of one kind are a single one, compiled once, that gets the weights which are loaded.
    """
    from src.prediction import network_model

    main = importlib.import_module(script).main
    if script == "eval":
        flags = (*flags, "--compile_cache=False")  # whose graphs are those of a process of its own
    if script != "eval":
        main = partial(main, interruption=Interruption())
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        if script != "export":  # which folds norms into the network's weights
            patch.setattr(network_model, "build_ssd", shared_network)
        main(list(map(str, flags)))
    return printed.getvalue()


def checkpoint(trained) -> str:
    """The flag with the run's best checkpoint."""
    return f"--checkpoint_path={trained[1] / 'ckpt' / 'best.ckpt'}"


def numbers(output) -> dict:
    """What eval.py wrote to metrics.json."""
    return json.loads((output / "report" / "metrics.json").read_text())
