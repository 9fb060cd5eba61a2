"""Programs in a Python that lacks packages end with one line."""

import subprocess
import sys

import pytest

from src.runtime.uncaught import missing_package
from tests.conftest import REPOSITORY

WITHOUT_PACKAGES = "-S"


@pytest.mark.parametrize(
    "command",
    [
        ["train.py", "--lr=0.1"], ["eval.py"], ["predict.py"], ["export.py"],
        ["-m", "src.weights", "a.pth"], ["-m", "src.data.validate"],
    ],
)  # fmt: skip
def test_a_python_without_packages_is_told_in_one_line(command):
    done = subprocess.run(
        [sys.executable, WITHOUT_PACKAGES, *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("error: ") and " has no package '" in line
    assert "'source .venv/bin/activate'" in line and "'bash scripts/setup.sh'" in line


def test_two_ranks_without_packages():
    environment = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    done = subprocess.run(
        [sys.executable, WITHOUT_PACKAGES, "train.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**environment, "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
    )
    assert done.returncode == 1
    assert "has no package" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["src.weights.gone", "src", "mindspore.gone", "ctypes", None])
def test_other_errors_of_imports_keep_their_traceback(name):
    assert missing_package(ModuleNotFoundError("no module", name=name)) == ""
    assert missing_package(ImportError("cannot import name", name="yaml")) == ""
    assert missing_package(None) == ""
