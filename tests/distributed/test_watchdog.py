"""When the watchdog ends a process, and what it prints."""

import subprocess
import sys

import pytest

from src.distributed import watchdog
from src.distributed.launch import LONGEST_WAIT
from src.distributed.watchdog import Watchdog
from tests.conftest import REPOSITORY

HANG = """
import time
from src.distributed.watchdog import Watchdog
def hang_here():
    time.sleep(60)
dog = Watchdog(0.2)
dog.heartbeat("update")
time.sleep(0.01)
dog.heartbeat("update")
hang_here()
"""


@pytest.fixture
def time_and_limits(monkeypatch):
    """A settable clock, and the limits that were set; None where a limit was removed."""
    now, limits = [0.0], []
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        watchdog.faulthandler,
        "dump_traceback_later",
        lambda seconds, exit: limits.append(seconds if exit else "stays"),
    )
    monkeypatch.setattr(
        watchdog.faulthandler, "cancel_dump_traceback_later", lambda: limits.append(None)
    )
    return now, limits


def test_limit_follows_the_slowest_lap(time_and_limits):
    now, limits = time_and_limits
    dog = Watchdog(40)
    for now[0] in (0, 30, 33, 38, 39):  # laps of 30, 3, 5 and 1 s
        dog.heartbeat("update")
    # the first one sets up kernels: the second may take twice as long, the others ten times
    # the slowest but the first
    assert limits == [LONGEST_WAIT, 60, 60, 60, 60]
    for now[0] in (50, 51):  # of 11 and 1 s
        dog.heartbeat("update")
    assert limits[-2:] == [110, 110]


def test_short_laps_have_the_timeout(time_and_limits):
    now, limits = time_and_limits
    dog = Watchdog(40)
    for now[0] in (0, 1, 2):
        dog.heartbeat("update")
    assert limits == [LONGEST_WAIT, 40, 40]


def test_waiting_and_idling_are_no_laps(time_and_limits):
    now, limits = time_and_limits
    dog = Watchdog(4)
    dog.heartbeat("update")
    now[0] = 1
    paused = dog.pause()
    now[0] = 500
    dog.resume(paused)
    now[0] = 501
    dog.heartbeat("update")
    assert dog.first == {"update": 2}
    dog.idle()
    assert not dog.is_on
    dog.resume(dog.pause())  # nothing is under way
    now[0] = 900
    dog.heartbeat("update")
    now[0] = 901
    dog.heartbeat("update")
    assert dog.slowest == {"update": 1}
    assert limits == [LONGEST_WAIT, None, LONGEST_WAIT, 4, None, None, 4, 10]


def test_idling_ends_a_lap(time_and_limits):
    now, _ = time_and_limits
    dog = Watchdog(4)
    for start in (0, 100, 200):  # as where each update is saved
        now[0] = start
        dog.heartbeat("update")
        now[0] = start + 7
        dog.idle()
    assert (dog.first, dog.slowest) == ({"update": 7}, {"update": 7})


def test_each_kind_of_lap_has_its_own_limit(time_and_limits):
    now, limits = time_and_limits
    dog = Watchdog(4)
    for now[0] in (0, 1, 2):
        dog.heartbeat("update")
    dog.idle()
    for now[0] in (10, 60, 160):
        dog.heartbeat("batch")  # larger than an update's: 50 and 100 s
    assert limits[-3:] == [LONGEST_WAIT, 100, 1000]
    dog.heartbeat("update")
    assert limits[-1] == 10


def test_process_that_hangs_ends_with_its_traceback():
    process = subprocess.run(
        [sys.executable, "-c", HANG], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    assert process.returncode == 1
    assert process.stderr.startswith("Timeout (0:0")
    assert "in hang_here" in process.stderr
