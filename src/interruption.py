"""Ctrl-C and SIGTERM: taken when it suits the run, or at once."""

import os
import signal
import sys
import threading
from typing import Optional

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    Without `watch` nothing ever asks. While `deferred`, the first signal is only noted in `asked`,
    for a loop to look at; another one, or the first at any other time, ends the process at once.
    """

    def __init__(self):
        self.asked: Optional[int] = None
        self.deferred = False

    def watch(self) -> "Interruption":
        """Takes the signals from now on; call it in the main thread, before others start.

        A thread waits for them while all threads block them. A handler would not do: MindSpore
        replaces it while it compiles and runs, and turns Ctrl-C into SIGTERM.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._wait, daemon=True).start()
        return self

    def check(self) -> None:
        """Raises Interrupted where a signal was noted."""
        if self.asked is not None:
            raise Interrupted(self.asked)

    def _wait(self) -> None:
        while True:
            signum = signal.sigwait(SIGNALS)
            name = signal.Signals(signum).name
            if not self.deferred or self.asked is not None:
                print(f"\n{name}: leaving at once", file=sys.stderr, flush=True)
                os._exit(Interrupted(signum).exit_status)
            self.asked = signum
            print(
                f"\n{name}: saving and leaving after this update; once more leaves at once",
                file=sys.stderr,
                flush=True,
            )


def take_signals_back() -> None:
    """For a process that a watching one has started: lets SIGTERM end it again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
