"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1: taken when it suits the run, or at once."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

# SIGHUP comes from a terminal that is closed, SIGUSR1 from schedulers and, to all ranks, by mpirun
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
GRACE = 1.0  # seconds in which another signal is the same request: `timeout` sends two, for one
POLL = 0.01  # seconds


class Interrupted(Exception):
    """The run was asked to stop and has saved what it had to."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(signal.Signals(signum).name)

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells count: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


class Interruption:
    """Whether the process was asked to stop.

    Without `watch` nothing ever asks. While `deferred`, the first signal is only noted in `signum`,
    for a loop to look at; another one, or the first at any other time, ends the process at once.

    Args:
        is_quiet: whether it says nothing of that, as all ranks of a job but one.
    """

    def __init__(self, *, is_quiet: bool = False):
        self.is_quiet = is_quiet
        self.signum: int | None = None
        self.deferred = False

    def watch(self) -> "Interruption":
        """Takes the signals from now on; call it in the main thread, before others start.

        A thread waits for them while all threads block them. A handler would not do: MindSpore
        replaces it while it compiles and runs, and turns Ctrl-C into SIGTERM.
        """
        # one that is ignored, as Ctrl-C is in a shell's background jobs, stays so
        signals = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        threading.Thread(target=self._watch, args=(signals,), daemon=True).start()
        return self

    def check(self) -> None:
        """Raises Interrupted where a signal was noted."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def wait(self, seconds: float) -> bool:
        """Waits so long at most for a signal to be noted; True where one is."""
        deadline = time.monotonic() + seconds
        while self.signum is None and time.monotonic() < deadline:
            time.sleep(POLL)
        return self.signum is not None

    def _watch(self, signals: Sequence[int]) -> None:
        noted_at = 0.0
        while True:
            signum = signal.sigwait(signals)
            name = signal.Signals(signum).name
            if self.signum is not None and time.monotonic() - noted_at < GRACE:
                continue
            noted_at = time.monotonic()
            if not self.deferred or self.signum is not None:
                self._print(f"\n{name}: leaving at once")
                os._exit(Interrupted(signum).exit_status)
            self.signum = signum
            self._print(f"\n{name}: saving what is done and leaving; once more leaves at once")

    def _print(self, message: str) -> None:
        """Prints to stderr, if that is still there."""
        if not self.is_quiet:
            with contextlib.suppress(OSError):
                print(message, file=sys.stderr, flush=True)


def unblock_signals() -> None:
    """For a process that a watching one has started: lets SIGTERM and SIGHUP end it again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGHUP])
