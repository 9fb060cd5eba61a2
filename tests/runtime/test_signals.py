"""Signals that end a process at once."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

CODE = """
import sys, time
from pathlib import Path
from src.distributed.command import run_command
from src.runtime.signals import Interruption
interruption, files = Interruption(), [Path(name) for name in sys.argv[1:]]
def main():
    interruption.unfinished += files
    files[0].touch()
    print(flush=True)
    time.sleep(60)
run_command(main, interruption)
"""


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_unfinished_files_are_removed(tmp_path, signum, status):
    """Those that are there."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *(str(tmp_path / name) for name in ("begun", "not_begun"))],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background ignores Ctrl-C, and its children would
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()
    assert (tmp_path / "begun").exists()
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, f"\n{signum.name}: exiting at once\n")
    assert list(tmp_path.iterdir()) == []
