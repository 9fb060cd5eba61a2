"""Signals that end a process at once."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

CODE = """
import sys
from pathlib import Path
from src.distributed.command import run_command
from src.runtime.signals import Interruption
interruption, folders = Interruption(), [Path(name) for name in sys.argv[1:]]
def main():
    interruption.unfinished += folders
    folders[0].mkdir()
    print(flush=True)
    try:
        while True:
            (folders[0] / "file").write_bytes(b"")
    except FileNotFoundError:
        folders[0].mkdir(exist_ok=True)  # as MindSpore does
        raise
run_command(main, interruption)
"""


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_unfinished_folders_are_removed(tmp_path, signum, status):
    """Those that are there, while files are written into one."""
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
