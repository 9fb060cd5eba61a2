"""Helpers for messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def count(number: int, noun: str) -> str:
    """ "1 error", "2,000 errors"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def suggestion(name: object, known: Iterable[str]) -> str:
    """ "; did you mean ...?" if a known name is close, else ""."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
