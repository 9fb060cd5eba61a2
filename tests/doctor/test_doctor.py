"""The command as users type it: on a CUDA that computes nothing, and as two ranks on CPU."""

import os
import re
import socket
import subprocess
import sys

import pytest

from tests import jobs
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.usefixtures("narrow")

RANKS_SECONDS = 400  # more than the doctor gives its own updates, so that it reports what hangs


def doctor(*flags, **environ):
    """The finished command."""
    return subprocess.run(
        [sys.executable, "-m", "src.doctor", *map(str, flags)],
        cwd=REPOSITORY, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=jobs.SECONDS,
    )  # fmt: skip


def statuses(output):
    """The status of each check by its name; the names are at most 19 wide."""
    lines = [
        line for line in output.splitlines() if line.startswith(("ok ", "FAILED ", "skipped "))
    ]
    return {line[8:27].strip(): line[:8].strip() for line in lines}


def names_this_machine(text):
    """Whether the text has the host name as a whole word; it may be a part of others."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(socket.gethostname())}(?![A-Za-z0-9])", text)


@pytest.mark.slow
def test_a_card_that_computes_nothing_fails(gpu_stub):
    done = doctor("--device_target=GPU", **gpu_stub)
    assert done.returncode == 1, done.stdout + done.stderr
    found = statuses(done.stdout)
    assert found["CUDA_HOME, nvcc"] == found["its libraries"] == found["MindSpore's plugin"] == "ok"
    assert found["cards it sees"] == "ok"
    assert found["momentum, float32"] == "FAILED", done.stdout
    assert "ok" not in {found[f"{name}, float16"] for name in ("momentum", "adamw")}
    assert "checks failed" in done.stdout.splitlines()[-1]


def test_cuda_12(gpu_stub, tmp_path):
    report = tmp_path / "report.txt"
    flags = ("--device_target=GPU", f"--report={report}")
    done = doctor(*flags, **gpu_stub, STUB_NVCC_RELEASE="12.4")
    assert done.returncode == 1
    found = statuses(done.stdout)
    assert found["CUDA_HOME, nvcc"] == found["MindSpore's plugin"] == "FAILED"
    assert found["momentum, float32"] == found["cards it sees"] == "skipped"
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "11.1 to 11.8" in line)
    assert lines[at + 1].strip().startswith("->")
    text = report.read_text()
    assert lines[at] in text and "CUDA_HOME" in text
    assert str(REPOSITORY) not in text and not names_this_machine(text)


def test_usage_names_the_command():
    assert doctor("--help").stdout.startswith("usage: python3 -m src.doctor [--config=FILE]")


def test_bad_flags_give_one_line(tmp_path):
    done = doctor("--batch_sise=4")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "batch_size" in done.stderr
    done = doctor(f"--report={tmp_path}")
    assert done.returncode == 2 and "expected a file to write" in done.stderr


@pytest.mark.mpi
def test_two_ranks_on_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "SECONDS", RANKS_SECONDS)
    report = tmp_path / "report.txt"
    done = jobs.run(jobs.mpirun(2, "-m", "src.doctor", "--num_workers=1", f"--report={report}"))
    assert done.returncode == 0, done.stdout
    found = statuses(done.stdout)
    assert set(found.values()) <= {"ok", "skipped"}
    for name in (
        "Open MPI",
        "ranks communicate",
        "sum over ranks",
        "ranks equal",
        "momentum, float32",
    ):
        assert found[name] == "ok", name
    assert "exact; 2 ranks" in done.stdout
    assert done.stdout.count("ok      Python") == 1  # only the main rank prints
    text = report.read_text()
    assert "OMPI_COMM_WORLD_SIZE" in text and "sum over ranks" in text
    assert str(REPOSITORY) not in text and not names_this_machine(text)
    assert not done.left
