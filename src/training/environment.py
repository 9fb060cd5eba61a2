"""What a run was made with."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Optional

PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "pycocotools")
REPOSITORY = Path(__file__).parents[2]


def environment(device: str) -> dict:
    """Versions, device and source of a run, for its run.json.

    Args:
        device: CPU, GPU or Ascend.
    """
    return {
        "command": sys.argv,
        "commit": git_commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "host": platform.node(),
        "device": device,
        "cores": len(os.sched_getaffinity(0)),
    }


def git_commit() -> Optional[str]:
    """The commit of these sources, with "-dirty" where files differ from it; None outside git."""
    commit = git("rev-parse", "HEAD")
    if commit and git("status", "--porcelain", "--untracked-files=no"):
        commit += "-dirty"
    return commit


def git(*arguments: str) -> Optional[str]:
    """What git prints, or None where it cannot."""
    try:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def summary(facts: dict) -> str:
    """The facts in a line, for the log."""
    commit, _, dirty = (facts["commit"] or "unknown").partition("-")
    commit = commit[:12] + (" with changes" if dirty else "")
    return (
        f"commit {commit}, MindSpore {facts['mindspore']}, Python {facts['python']}, "
        f"{facts['device']}, {facts['cores']} cores on {facts['host']}"
    )
