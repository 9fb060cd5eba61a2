"""Runs other programs, each with a time limit."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from src.runtime.files import REPOSITORY

MINDSPORE_LOG_LEVEL = "3"  # errors only: its warnings are about deliberate choices
# variables that Open MPI, PMIx and msrun set; without them a child is a single process
LAUNCHER_PREFIXES = ("OMPI_", "PMIX_", "PMI_", "MS_ROLE", "MS_WORKER", "MS_SCHED", "MS_NODE")
KILL_SECONDS = 5  # until a killed process is gone; one that waits in a driver stays

# the start of an error line in a traceback, or of a crash report
ERROR = re.compile(r"[\w.]*(Error|Exception|RankLost|NotFinite)\b:|Fatal Python error:")


@dataclass(frozen=True)
class Answer:
    """The output of a program.

    Attributes:
        problem: how it failed; "" if it ended with status 0.
        text: stdout and stderr.
    """

    problem: str
    text: str = ""

    @property
    def last_line(self) -> str:
        """The last line of its output."""
        lines = self._lines()
        return lines[-1] if lines else "no output"

    @property
    def reason(self) -> str:
        """The error line of a traceback (MindSpore prints more below it), else the last line."""
        lines = self._lines()
        at = [i for i, line in enumerate(lines) if ERROR.match(line)]
        if not at:
            return self.last_line
        error, *rest = lines[at[-1] : at[-1] + 2]
        return " ".join([error, *rest]) if error.endswith(":") else error

    def _lines(self) -> list[str]:
        """The lines with more than dashes."""
        return [line.strip() for line in self.text.splitlines() if line.strip(" -")]


def ask(
    command: Sequence[str], *, seconds: float, environ: Mapping[str, str] | None = None
) -> Answer:
    """Runs a program in the repository's folder; kills it and its children after `seconds`."""
    # a file, not a pipe, which a grandchild may keep open after the program was killed
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=REPOSITORY, env=environ, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            return Answer("not found")
        except OSError as error:
            return Answer(f"cannot be run: {error.strerror}")
        problem = wait_for(process, seconds)
        output.seek(0)
        return Answer(problem, output.read().decode(errors="replace"))


def wait_for(process: subprocess.Popen, seconds: float) -> str:
    """How a process ended, killed after `seconds`; "" for status 0."""
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        stays = "" if kill(process) else "; it cannot be killed"
        return f"no answer within {seconds:g} s{stays}"
    except BaseException:  # this process is interrupted
        kill(process)
        raise
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"ended with status {status}" if status else ""


def kill(process: subprocess.Popen) -> bool:
    """Kills the session of a process that leads it; returns whether the process is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)
    return process.poll() is not None


def ask_python(
    module: str, *arguments: str, seconds: float, environ: Mapping[str, str] | None = None
) -> Answer:
    """`ask` for a module of this project, in this interpreter."""
    command = [sys.executable, "-X", "faulthandler", "-m", module, *arguments]
    return ask(command, seconds=seconds, environ=environ)


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that is not a rank."""
    return {
        name: value for name, value in environ.items() if not name.startswith(LAUNCHER_PREFIXES)
    }
