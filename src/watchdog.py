"""Ends a process that does not get on, and says where it hangs."""

import faulthandler
import time
from typing import Optional

from src.launch import PATIENCE

SLOW_LAPS = 10  # a lap may take so many times the slowest so far
SLOW_START = 2  # and the second so many times the first, in which kernels are set up


class Watchdog:
    """Expects to be told again and again that the process gets on.

    Where that takes longer than the limit, it prints the traceback of every thread and ends the
    process with status 1. The limit is `timeout`, or a multiple of the time that it took so far.

    Args:
        timeout: seconds.
    """

    def __init__(self, timeout: float):
        self.timeout = timeout
        self.marked: Optional[float] = None  # when the lap under way began
        self.first_lap, self.slowest_lap = 0.0, 0.0  # seconds

    @property
    def is_on(self) -> bool:
        """Whether a lap is under way."""
        return self.marked is not None

    def limit(self) -> float:
        """Seconds that a lap may take; as good as no limit until there was one."""
        if not self.first_lap:
            return PATIENCE
        return max(self.timeout, SLOW_START * self.first_lap, SLOW_LAPS * self.slowest_lap)

    def lap(self) -> None:
        """Ends a lap and begins another."""
        now = time.monotonic()
        if self.marked is not None:
            seconds = now - self.marked
            if self.first_lap:
                self.slowest_lap = max(self.slowest_lap, seconds)
            self.first_lap = self.first_lap or seconds
        self.marked = now
        self._watch()

    def rest(self) -> None:
        """Expects nothing until the next lap begins."""
        faulthandler.cancel_dump_traceback_later()
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

    def _watch(self) -> None:
        # by a thread of C, which needs no lock of the interpreter, whatever the process hangs in
        faulthandler.dump_traceback_later(self.limit(), exit=True)
