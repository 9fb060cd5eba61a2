"""Starts jobs of several ranks, and looks for what they leave behind."""

import contextlib
import os
import re
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY

PROGRAMS = Path(sys.executable).parent  # where mpirun and python3 of this environment are
SECONDS = 120  # until a job that should have ended is given up
GRACE = 10  # seconds until something left behind is taken to stay
MARK = "JOB_OF_TESTS"  # variable that a job's processes inherit


def environment() -> dict[str, str]:
    """This process's environment, its interpreter first in PATH; allows more ranks than cores."""
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


def start(command: list[str], **changes: str) -> subprocess.Popen:
    """The running job, stderr merged into stdout; `processes(job.mark)` are its processes."""
    mark = uuid.uuid4().hex
    job = subprocess.Popen(
        [str(word) for word in command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment(), MARK: mark, **changes},
    )
    job.mark = mark
    return job


def finish(job: subprocess.Popen) -> str:
    """The output of the job when it has ended; one that does not end is killed."""
    try:
        return job.communicate(timeout=SECONDS)[0]
    finally:
        for process in processes(job.mark):
            process.kill()


@dataclass
class Finished:
    """A job's status and output, and the processes and shared memory that it left behind."""

    returncode: int
    stdout: str
    left: list[str]


def run(command: list[str], **changes: str) -> Finished:
    """The job when it has ended."""
    before = shared_memory()
    job = start(command, **changes)
    try:
        output = job.communicate(timeout=SECONDS)[0]
        return Finished(job.returncode, output, left_behind(job.mark, before))
    finally:
        finish(job)


def processes(mark: str) -> list[psutil.Process]:
    """The processes of a job, its data workers included: all have inherited its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # it has just ended, or is someone else's
            continue
    return found


def left_behind(mark: str, before: set[str]) -> list[str]:
    """What is still there some seconds after a job has ended.

    Args:
        before: shared memory that was there before.
    """
    deadline = time.monotonic() + GRACE
    while True:
        left = [" ".join(process.cmdline()) for process in processes(mark)]
        left += sorted(shared_memory() - before)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def shared_memory() -> set[str]:
    """Files in /dev/shm of Open MPI and of Python's processes that no process has in its memory."""
    kinds = ("sem.mp-*", "vader_segment.*", "psm_*", "pymp-*")
    files = {path.name for kind in kinds for path in Path("/dev/shm").glob(kind)}
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # the process has just ended
            files -= set(re.findall(r"/dev/shm/(\S+)", maps.read_text()))
    return files
