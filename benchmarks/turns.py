"""Work of several kinds, each in a process of its own, done turn about.

So a change in the machine's speed meets all of them, and each has a peak memory of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

GIGA = 1e9

Make = Callable[[], tuple[Callable[[], None], dict]]  # gives one piece of work, and facts about it


def serve(make: Make) -> None:
    """Does the work once for every line on standard input, and answers with its times."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print must not mix with the answers
    work, facts = make()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        # ru_maxrss can hold the parent's peak from before exec, VmHWM cannot
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
        answers.write(json.dumps({**times, "peak_bytes": peak, "facts": facts}) + "\n")


class Worker:
    """A process that calls `serve`, and works when asked.

    Args:
        command: that starts it.
    """

    def __init__(self, command: Sequence[str]):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answers: list[dict] = []
        self.first_seconds = 0.0

    def work(self) -> None:
        """Lets the process work once; RuntimeError if it has died."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[:4]} ended with status {self.process.wait()}")
        self.answers.append(json.loads(line))
        if len(self.answers) == 1:
            self.first_seconds = time.perf_counter() - self.started

    def close(self) -> dict:
        """Ends the process; gives medians over all times but the first, and the peak memory."""
        self.process.stdin.close()
        self.process.wait()
        timed = self.answers[1:]
        return {
            "seconds": statistics.median(answer["wall"] for answer in timed),
            "cpu_seconds": statistics.median(answer["cpu"] for answer in timed),
            "first_seconds": self.first_seconds,
            "peak_gb": self.answers[-1]["peak_bytes"] / GIGA,
            "facts": self.answers[-1]["facts"],
        }


def take_turns(commands: dict[str, Sequence[str]], times: int) -> dict[str, dict]:
    """Starts each and lets it work once, then all of them turn about; what `close` says of each.

    The first time one after the other, so that each has the machine to itself when it starts.
    """
    workers: dict[str, Worker] = {}
    for name, command in commands.items():
        workers[name] = Worker(command)
        workers[name].work()
    for _ in range(times):
        for worker in workers.values():
            worker.work()
    return {name: worker.close() for name, worker in workers.items()}
