"""Versions of Python, MindSpore and NumPy."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from src.runtime.plugins.findings import Finding, failed, ok

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 12)  # that MindSpore has wheels for
MINDSPORE = "2.10"  # the series in requirements.txt
INSTALL = "pip install -r requirements.txt, in a separate environment"


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def mindspore_folder() -> Path | None:
    """MindSpore's folder, without importing it; None if it is not installed."""
    spec = find_spec("mindspore")
    return Path(spec.origin).parent if spec and spec.origin else None


def check_python(found: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Whether MindSpore has wheels for this Python."""
    text = ".".join(map(str, found))
    if OLDEST_PYTHON <= found[:2] <= NEWEST_PYTHON:
        return ok("Python", f"{text}, {platform.machine()}")
    return failed("Python", text, "MindSpore has wheels for Python 3.10 to 3.12; use one of these")


def check_mindspore(found: str | None) -> Finding:
    """Whether the installed MindSpore is of the series that this project is tested with."""
    if found is None:
        return failed("MindSpore", "not installed", INSTALL)
    if found.startswith(f"{MINDSPORE}."):
        return ok("MindSpore", found)
    return failed("MindSpore", f"{found}; expected {MINDSPORE}", INSTALL)


def check_numpy(found: str | None) -> Finding:
    """Whether NumPy is below 2, which MindSpore's binaries are built against."""
    if found is None:
        return failed("NumPy", "not installed", INSTALL)
    if int(found.split(".")[0]) < 2:
        return ok("NumPy", found)
    return failed(
        "NumPy", f"{found}; MindSpore's binaries fail with NumPy 2", "pip install 'numpy>=1.25,<2'"
    )
