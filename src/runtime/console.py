"""Standard output and error that show any text, and that may be closed or fail."""

import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from src.runtime.text import printable

STREAMS = ("stdin", "stdout", "stderr")  # by the number of their file descriptor
# what tqdm moves its bars with, at the start of a write
MOVES = re.compile(r"\r|(?:\x1b\[A)+")


class ConsoleLeft(BrokenPipeError):
    """The program that reads the output has ended, as `head` does."""

    exit_status = 141  # in shells, of a program that SIGPIPE ended: 128 + 13


class Console(io.TextIOWrapper):
    """A text stream that escapes control characters, and characters that its encoding lacks.

    After a failed write nothing more is written, or Python would try again at exit and complain.
    """

    def write(self, text: str) -> int:
        moves = MOVES.match(text)
        start = moves.end() if moves else 0
        return self._attempt(super().write, text[:start] + printable(text[start:], lines=True))

    def flush(self) -> None:
        self._attempt(super().flush)

    def _attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except BrokenPipeError as error:
            self._leave()
            raise ConsoleLeft(error.errno, error.strerror) from None
        except OSError as error:
            self._leave()
            name = {1: "standard output", 2: "standard error"}.get(self.fileno(), self.name)
            raise OSError(error.errno, error.strerror, name) from None

    def _leave(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def open_console() -> None:
    """Makes sys.stdout and sys.stderr Consoles, and opens what the shell has closed (`>&-`)."""
    for descriptor, name in enumerate(STREAMS):
        if getattr(sys, name) is None:
            open_null(descriptor)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
    for name in STREAMS[1:]:
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            through = stream.write_through  # set by PYTHONUNBUFFERED
            console = Console(
                os.fdopen(stream.fileno(), "wb", buffering=0 if through else -1, closefd=False),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering or name == "stderr",
                write_through=through,
            )
            stream.flush()
            setattr(sys, name, console)


def open_null(descriptor: int) -> None:
    """Opens /dev/null as a descriptor that is closed: the next file would get its number."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
    os.set_inheritable(descriptor, True)


def say(message: str) -> None:
    """Prints to stderr, after flushing stdout; does nothing if the streams are gone."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
