"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1: a run handles them at a safe point, or exits at once."""

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

# SIGHUP: the terminal was closed; SIGUSR1: from schedulers, which mpirun forwards to all ranks
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)  # see `Interruption.handled`
GRACE = 1.0  # seconds in which a second signal is ignored: `timeout` sends two
POLL = 0.01  # seconds


class Interrupted(Exception):
    """A signal asks the run to stop."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(signal.Signals(signum).name)

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as in shells: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


def remove_folder(folder: Path) -> None:
    """Removes a folder into which another thread may write; it is renamed first to prevent that."""
    renamed = folder.with_name(f"{folder.name}.stopped")
    with contextlib.suppress(OSError):
        folder.rename(renamed)
    for _ in range(3):  # the other thread may just have opened a file, or make the folder again
        shutil.rmtree(renamed, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(POLL)


class Interruption:
    """Whether a signal asked the process to stop; needs `watch`.

    While `deferred`, the first signal is only stored in `signum`, for a loop to check. A second
    one, or the first at any other time, ends the process at once.

    Attributes:
        is_quiet: whether it prints nothing, as on all ranks but the main one.
        unfinished: folders of temporary files, removed if the process ends at once.
        is_ending: whether the process ends at once, and removes them.
    """

    def __init__(self):
        self.is_quiet = False
        self.signum: int | None = None
        self.deferred = False
        self.unfinished: list[Path] = []
        self.is_ending = False

    def watch(self) -> "Interruption":
        """Starts to receive signals; call it in the main thread, before others start.

        A thread waits for them and all threads block them. MindSpore would replace a handler while
        it compiles and runs, and turn Ctrl-C into SIGTERM.
        """
        # ignored signals stay ignored, as Ctrl-C in a shell's background jobs
        signals = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        threading.Thread(target=self._watch, args=(signals,), daemon=True).start()
        return self

    def unless_ending(self, main: Callable[[], Any]) -> Any:
        """What `main` returns or raises; an error from a file that was just removed is not."""
        try:
            return main()
        except BaseException:
            if self.is_ending:
                threading.Event().wait()  # `_watch` ends the process
            raise

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Receives Ctrl-C and SIGTERM while the block runs, for a process that goes on after it.

        Unlike with `watch`, one that is not deferred, and a second one, raises KeyboardInterrupt.
        Both signals do the same, since MindSpore turns Ctrl-C into SIGTERM while it compiles and
        runs. Signals reach the main thread alone; in another one nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def receive(signum: int, frame: FrameType | None) -> None:
            if not self.deferred or self.signum is not None:
                raise KeyboardInterrupt
            self.signum = signal.SIGINT
            self._print("\nSIGINT: saving and stopping; another one stops at once")

        # ignored signals stay ignored
        numbers = [n for n in INTERRUPTS if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, receive) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)  # None: not set by Python

    def check(self) -> None:
        """Raises Interrupted if a signal was received."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def wait(self, seconds: float) -> bool:
        """Waits for a signal, at most these seconds; returns whether there is one."""
        deadline = time.monotonic() + seconds
        while self.signum is None and time.monotonic() < deadline:
            time.sleep(POLL)
        return self.signum is not None

    def _watch(self, signals: Sequence[int]) -> None:
        received_at = 0.0
        while True:
            signum = signal.sigwait(signals)
            name = signal.Signals(signum).name
            if self.signum is not None and time.monotonic() - received_at < GRACE:
                continue
            received_at = time.monotonic()
            if not self.deferred or self.signum is not None:
                self.is_ending = True
                self._print(f"\n{name}: exiting at once")
                for folder in self.unfinished:
                    remove_folder(folder)
                os._exit(Interrupted(signum).exit_status)
            self.signum = signum
            self._print(f"\n{name}: saving and exiting; another signal exits at once")

    def _print(self, message: str) -> None:
        """Prints to stderr, if it still exists."""
        if not self.is_quiet:
            with contextlib.suppress(OSError):
                print(message, file=sys.stderr, flush=True)


def unblock_signals() -> None:
    """Lets SIGTERM and SIGHUP end a process that one with `Interruption.watch` started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGHUP])
