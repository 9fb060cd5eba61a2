"""What the sessions of a run were made with."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from src import __version__
from src.runtime.files import REPOSITORY, to_json, write_atomically
from src.runtime.text import count

PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "pycocotools")


def environment(device: str, ranks: int) -> dict:
    """Versions, device and source of this session.

    Args:
        device: CPU, GPU or Ascend.
        ranks: of the job.
    """
    return {
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": sys.argv,
        "version": __version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "host": platform.node(),
        "device": device,
        "ranks": ranks,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def package_version(name: str) -> str | None:
    """None where the package is installed under another name."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str | None:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def git_commit() -> str | None:
    """The commit of these sources, with "-dirty" where files differ from it; None outside git."""
    commit = git("rev-parse", "HEAD")
    if commit and git("status", "--porcelain", "--untracked-files=no"):
        commit += "-dirty"
    return commit


def git(*arguments: str) -> str | None:
    """What git prints, or None where it cannot."""
    try:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def add_session(path: Path, facts: dict) -> str:
    """Adds a session to a run.json; returns a line about it for the log."""
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the first one
        sessions = []
    write_atomically(path, to_json([*sessions, facts]) + "\n")
    line = summary(facts)
    changed = [
        name for name in ("commit", "mindspore") if sessions and sessions[-1][name] != facts[name]
    ]
    if changed:
        line += f"; before: {summary(sessions[-1])}"
    return line


def summary(facts: dict) -> str:
    """The facts in a line."""
    commit, _, dirty = (facts["commit"] or "unknown").partition("-")
    commit = commit[:12] + (" with changes" if dirty else "")
    return (
        f"commit {commit}, MindSpore {facts['mindspore']}, Python {facts['python']}, "
        f"{facts['device']}, {count(facts['cores'], 'core')} on {facts['host']}"
    )
