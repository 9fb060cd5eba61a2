"""Ends a process that does not get on, and says where it hangs."""

import faulthandler
import time
from typing import Optional

from src.distributed.launch import LONGEST_WAIT

SLOW_LAPS = 10  # a lap may take so many times the slowest so far
SLOW_START = 2  # and the second so many times the first, in which kernels are set up


class Watchdog:
    """Expects to be told again and again that the process gets on.

    Where that takes longer than the limit, it prints the traceback of every thread and ends the
    process with status 1. The limit is `timeout`, or a multiple of the time that laps of that kind
    took so far; the first of a kind has as good as none.

    Args:
        timeout: seconds.
    """

    def __init__(self, timeout: float):
        self.timeout = timeout
        self.kind = ""  # of the lap under way
        self.marked: Optional[float] = None  # when it began
        self.first: dict[str, float] = {}  # seconds of the first lap of each kind,
        self.slowest: dict[str, float] = {}  # and of the slowest of the others

    @property
    def is_on(self) -> bool:
        """Whether a lap is under way."""
        return self.marked is not None

    def slowest_lap(self) -> float:
        """Seconds that the slowest lap of the kind under way took, the first left out."""
        return self.slowest.get(self.kind, 0.0)

    def limit(self) -> float:
        """Seconds that the lap under way may take."""
        if self.kind not in self.first:
            return LONGEST_WAIT
        start = SLOW_START * self.first[self.kind]
        return max(self.timeout, start, SLOW_LAPS * self.slowest_lap())

    def lap(self, kind: str) -> None:
        """Ends a lap and begins another."""
        self._end()
        self.kind, self.marked = kind, time.monotonic()
        self._watch()

    def rest(self) -> None:
        """Ends a lap, and expects nothing until another begins."""
        faulthandler.cancel_dump_traceback_later()
        self._end()
        self.marked = None

    def pause(self) -> float:
        """Stops the clock of the lap under way; `go_on` takes what this gives."""
        faulthandler.cancel_dump_traceback_later()
        return time.monotonic()

    def go_on(self, paused: float) -> None:
        """Starts the clock again, the time since `paused` left out."""
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
        # by a thread of C, which needs no lock of the interpreter, whatever the process hangs in
        faulthandler.dump_traceback_later(self.limit(), exit=True)
