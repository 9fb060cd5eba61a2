"""Runs the command lines as a user types them, each in a process of its own."""

import json
import os
import subprocess
import sys
import time

from tests.conftest import REPOSITORY


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


def evaluated(trained, output, *flags):
    """The finished process of eval.py on the run's best checkpoint, and the numbers it wrote."""
    path, folder, _ = trained
    checkpoint = folder / "ckpt" / "best.ckpt"
    process = run(
        "eval.py",
        f"--config_path={path}",
        f"--checkpoint_path={checkpoint}",
        f"--output_path={output}",
        *flags,
    )
    assert process.returncode == 0, process.stderr
    return process, json.loads((output / "report" / "metrics.json").read_text())


def exported(trained, name, *flags):
    """A detector exported from the run's best checkpoint, and what was printed."""
    path, folder, _ = trained
    process = run(
        "export.py",
        f"--config_path={path}",
        f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}",
        f"--file_name={name}",
        *flags,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
