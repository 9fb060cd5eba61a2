"""The software and hardware that a session of a run used, for run.json."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from src.runtime.files import REPOSITORY, to_json, write_atomically
from src.runtime.plugins.software import installed
from src.runtime.text import count
from src.runtime.version import __version__

SESSIONS = "run.json"  # of a run's folder
PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "pycocotools")


def environment(device: str, ranks: int) -> dict:
    """Versions, device (CPU, GPU or Ascend), ranks and commit of this session."""
    return {
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": sys.argv,
        "version": __version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
        "platform": platform.platform(),
        "host": platform.node(),
        "device": device,
        "ranks": ranks,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def processor() -> str | None:
    """The processor's name; None if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def git_commit() -> str | None:
    """The commit of these sources, with "-dirty" if files differ from it; None outside git."""
    commit = git("rev-parse", "HEAD")
    if commit and git("status", "--porcelain", "--untracked-files=no"):
        commit += "-dirty"
    return commit


def git(*arguments: str) -> str | None:
    """The output of a git command; None if it fails."""
    try:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def add_session(path: Path, facts: dict) -> str:
    """Adds a session to a run.json; returns its summary for the log."""
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # this is the first session
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
    """The facts on one line."""
    commit, _, dirty = (facts["commit"] or "unknown").partition("-")
    commit = commit[:12] + (" with changes" if dirty else "")
    return (
        f"commit {commit}, MindSpore {facts['mindspore']}, Python {facts['python']}, "
        f"{facts['device']}, {count(facts['cores'], 'core')} on {facts['host']}"
    )
