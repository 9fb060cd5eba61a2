"""Processes that prepare batches: shared arrays, errors, deaths and how they end."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from src.data.workers import Prefetcher
from src.runtime.errors import RunError
from tests.conftest import REPOSITORY


class Work:
    """Work for a Prefetcher: fills in the task's number, and fails at some."""

    def __init__(self, table, fail_at=(), die_at=()):
        self.table = table
        self.fail_at = fail_at
        self.die_at = die_at

    def __call__(self, number, arrays):
        time.sleep(0.01)  # so that one worker alone is not fast enough
        if number in self.fail_at:
            raise KeyError(f"task {number}")
        if number in self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        arrays["value"][:] = self.table[number]
        return os.getpid(), self.table.flags.writeable


LAYOUT = {"value": ((3,), np.int64)}


def test_workers_share_read_only_arrays():
    prefetcher = Prefetcher(Work(np.arange(100) ** 2), LAYOUT, workers=2)
    results = list(prefetcher.run(range(100)))
    prefetcher.close()
    assert [int(arrays["value"][0]) for arrays, _ in results] == [n**2 for n in range(100)]
    assert {writeable for _, (_, writeable) in results} == {False}
    processes = {pid for _, (pid, _) in results}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert not any(psutil.pid_exists(pid) for pid in processes)


def test_error_in_a_worker_comes_with_its_traceback():
    prefetcher = Prefetcher(Work(np.arange(9), fail_at=[3]), LAYOUT, workers=2)
    found = []
    with pytest.raises(KeyError, match="task 3") as error:
        for arrays, _ in prefetcher.run(range(9)):
            found.append(arrays["value"][0])  # noqa: PERF402
    assert found == [0, 1, 2]
    assert 'raise KeyError(f"task {number}")' in str(error.value.__cause__)
    # the pool goes on
    assert len(list(prefetcher.run([1, 2]))) == 2
    prefetcher.close()


def test_killed_worker_ends_the_run():
    prefetcher = Prefetcher(Work(np.arange(9), die_at=[2]), LAYOUT, workers=2)
    with pytest.raises(RunError, match="died without an error.*--num_workers"):
        list(prefetcher.run(range(9)))
    prefetcher.close()


def test_worker_killed_while_the_run_is_left_early():
    prefetcher = Prefetcher(Work(np.arange(99), die_at=[1, 2]), LAYOUT, workers=1)
    batches = prefetcher.run(range(99))
    next(batches)

    def leave():
        batches.close()
        prefetcher.close()

    # in a thread, so that a deadlock is a failure and not a test that never ends
    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(timeout=20)
    assert not leaving.is_alive()


CONSUMER = """
import signal, time
import numpy as np
from src.data.workers import Prefetcher

class Slow:
    def __call__(self, number, arrays):
        time.sleep(0.05)

if __name__ == "__main__":
    # what a terminal gives; a shell's background job would start with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prefetcher = Prefetcher(Slow(), {"value": ((3,), np.int64)}, workers=3)
    try:
        for number, _ in enumerate(prefetcher.run(range(10000))):
            if number == 20:
                print("working", flush=True)
    finally:
        prefetcher.close()
"""


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_run(tmp_path, way):
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the signal reaches the group, like Ctrl-C's
    )
    assert process.stdout.readline() == "working\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4  # the workers and the process they are forked from
    if way == signal.SIGINT:
        os.killpg(process.pid, way)
    else:
        process.send_signal(way)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    if way == signal.SIGINT:
        assert errors == "\nSIGINT: exiting at once\n"  # the workers are silent
