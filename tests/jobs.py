"""Starts jobs of several ranks, and looks for what they leave behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY

PROGRAMS = Path(sys.executable).parent  # where mpirun and python3 of this environment are
SECONDS = 120  # until a job that should have ended is given up


def environment() -> dict[str, str]:
    """This process's, with its interpreter first, and leave for more ranks than there are cores."""
    return {
        **os.environ,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "GLOG_v": "3",
    }


def mpirun(ranks: int, *command) -> list[str]:
    """The command that starts so many ranks of a Python script."""
    start = ["mpirun", "-allow-run-as-root", "-n", str(ranks), "--bind-to", "none", "python3"]
    return [*start, *map(str, command)]


def run(command: list[str], **changes: str) -> subprocess.CompletedProcess:
    """The job when it has ended; stderr is part of stdout, as of mpirun's logs."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        env={**environment(), **changes},
    )


def left_behind(folder: Path) -> list[str]:
    """Processes that name the folder in their command line, and this user's shared memory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or []):
            found.append(" ".join(process.info["cmdline"]))
    return found + shared_memory()


def shared_memory() -> list[str]:
    """Files in /dev/shm of Open MPI and of Python's processes."""
    kinds = ("sem.mp-*", "vader_segment.*", "psm_*", "pymp-*")
    return sorted(path.name for kind in kinds for path in Path("/dev/shm").glob(kind))
