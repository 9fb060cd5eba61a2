"""Ends a process that hangs, and prints where."""

import faulthandler
import time

from src.distributed.launch import LONGEST_WAIT

SLOW_LAPS = 10  # a lap may take this many times the slowest so far
SLOW_START = 2  # the second lap, this many times the first, in which kernels are set up


class Watchdog:
    """Expects heartbeats; a lap is the time between two.

    If a lap takes longer than its limit, the traceback of every thread is printed and the process
    ends with status 1. The limit is `timeout` seconds, or a multiple of the time that earlier laps
    of that kind took if that is longer; it is LONGEST_WAIT for the first of a kind.
    """

    def __init__(self, timeout: float):
        self.timeout = timeout
        self.kind = ""  # of the current lap
        self.marked: float | None = None  # its start
        self.first: dict[str, float] = {}  # seconds of the first lap of each kind,
        self.slowest: dict[str, float] = {}  # and of the slowest of the others

    @property
    def is_on(self) -> bool:
        """Whether heartbeats are expected."""
        return self.marked is not None

    def slowest_lap(self) -> float:
        """Seconds of the slowest lap of the current kind, without the first."""
        return self.slowest.get(self.kind, 0.0)

    def limit(self) -> float:
        """Seconds that the current lap may take."""
        if self.kind not in self.first:
            return LONGEST_WAIT
        start = SLOW_START * self.first[self.kind]
        return max(self.timeout, start, SLOW_LAPS * self.slowest_lap())

    def heartbeat(self, kind: str) -> None:
        """Ends a lap and starts the next."""
        self._end()
        self.kind, self.marked = kind, time.monotonic()
        self._watch()

    def idle(self) -> None:
        """Ends a lap, and expects nothing until the next heartbeat."""
        faulthandler.cancel_dump_traceback_later()
        self._end()
        self.marked = None

    def pause(self) -> float:
        """Stops the clock of the current lap; `resume` takes the result."""
        faulthandler.cancel_dump_traceback_later()
        return time.monotonic()

    def resume(self, paused: float) -> None:
        """Restarts the clock, without the time since `paused`."""
        if self.marked is not None:
            self.marked += time.monotonic() - paused
            self._watch()

    def _end(self) -> None:
        if self.marked is None:
            return
        seconds = time.monotonic() - self.marked
        if self.kind in self.first:
            self.slowest[self.kind] = max(self.slowest_lap(), seconds)
        self.first.setdefault(self.kind, seconds)

    def _watch(self) -> None:
        # a thread of C, which needs no lock of the interpreter
        faulthandler.dump_traceback_later(self.limit(), exit=True)
