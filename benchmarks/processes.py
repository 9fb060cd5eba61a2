"""Work in processes of its own: each has a peak memory of its own, and several can alternate."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.common import GIGA, measure, peak_bytes

Make = Callable[[], tuple[Callable[[], object], dict]]  # gives a piece of work, and facts about it


def start(script: str, *arguments: object) -> subprocess.Popen:
    """Starts a script that prints a JSON line last."""
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen) -> dict:
    """The JSON line that the process printed last; RuntimeError if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args[1:]} ended with status {process.returncode}")
    return json.loads(output.splitlines()[-1])


def serve(make: Make) -> None:
    """Does the work once for every line on standard input, and answers with its times."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print must not mix with the answers
    work, facts = make()
    for _ in sys.stdin:
        wall, cpu = measure(work)
        answer = {"wall": wall, "cpu": cpu, "peak_bytes": peak_bytes(), "facts": facts}
        answers.write(json.dumps(answer) + "\n")


class Worker:
    """A process that calls `serve`, and works when asked.

    Args:
        command: that starts it.
    """

    def __init__(self, command: Sequence[object]):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers: list[dict] = []
        self.first_seconds = 0.0

    def work(self) -> dict:
        """Lets the process work once; the times of that. RuntimeError if it has died."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[:4]} ended with status {self.process.wait()}")
        self.answers.append(json.loads(line))
        if len(self.answers) == 1:
            self.first_seconds = time.perf_counter() - self.started
        return self.answers[-1]

    def close(self) -> dict:
        """Ends the process; gives medians over all times but the first, and the peak memory."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        timed = self.answers[1:]
        return {
            "seconds": statistics.median(answer["wall"] for answer in timed),
            "cpu_seconds": statistics.median(answer["cpu"] for answer in timed),
            "first_seconds": self.first_seconds,
            "peak_gb": self.answers[-1]["peak_bytes"] / GIGA,
            "facts": self.answers[-1]["facts"],
        }


def alternate(commands: dict[str, Sequence[object]], times: int) -> dict[str, dict]:
    """What `close` gives for each command, after `times` rounds in which each works once.

    Alternating, they meet the same changes of the machine's speed. Each works once more before, as
    soon as it is started, so that it has the machine to itself while it compiles.
    """
    workers: dict[str, Worker] = {}
    for name, command in commands.items():
        workers[name] = Worker(command)
        workers[name].work()
    for _ in range(times):
        for worker in workers.values():
            worker.work()
    return {name: worker.close() for name, worker in workers.items()}
