"""The error a user can mend, and how a command line ends on it."""

import functools
import sys
from collections.abc import Iterable
from difflib import get_close_matches

EXIT_BAD_INPUT = 2


class InputError(Exception):
    """Bad input: the message names the file, key or image, what was found and what to do."""


def suggestion(name: object, known: Iterable[str]) -> str:
    """ "; did you mean ...?" where a known name is close, else nothing."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def exit_on_bad_input(main):
    """Makes `main` end with status 2 and the message alone, without a traceback, on InputError."""

    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(EXIT_BAD_INPUT)

    return run
