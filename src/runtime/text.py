"""Helpers for messages."""

import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# characters that move a terminal's cursor, control it or reorder the text: control characters,
# marks of direction, line separators; and surrogates, which no encoding has
CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
SHOWN_LETTERS = 200  # of a value
SHOWN_ITEMS = 3  # of a list, in a message
LINES, INDENTED = "\n\t", "\n  "
BYTES = range(0xDC80, 0xDD00)  # bytes of a file name that are not UTF-8, as Python reads them


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 error", "2,000 errors"; `plural` where it does not end in s."""
    return f"{number:,} " + (noun if number == 1 else plural or f"{noun}s")


def listed(items: Sequence, shown: int = SHOWN_ITEMS) -> str:
    """The first items, printable, and how many more there are: "a, b and 7 more"."""
    text = ", ".join(printable(str(item)) for item in items[:shown])
    return text + (f" and {len(items) - shown:,} more" if len(items) > shown else "")


def shown(value: object, letters: int = SHOWN_LETTERS) -> str:
    """A value for a message, shortened if it is long."""
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"a {type(value).__name__} of many digits"
    return text if len(text) <= letters else f"{text[:letters]} ..."


def suggestion(name: object, known: Iterable[str]) -> str:
    """ "; did you mean ...?" if a known name is close, else ""."""
    plain = {spelling(item): item for item in known}
    close = get_close_matches(spelling(str(name)), list(plain), n=1)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def spelling(name: str) -> str:
    """The name in lower case, with spaces between its words."""
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def is_name(text: str) -> bool:
    """Whether a file can have this name."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a character, or a locale that lacks it
        return False


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can encode a text; it cannot encode all file names."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str, *, lines: bool = False) -> str:
    """The text with control characters escaped; with `lines` line breaks and tabs stay.

    A byte of a file name that is not UTF-8 becomes "\\xe9".
    """
    if text.isascii() and text.isprintable():
        return text
    return CONTROLS.sub(lambda found: escaped(found[0], LINES if lines else ""), text)


def printable_lines(message: str) -> str:
    """`printable` for a message whose lines after the first are indented: only their breaks stay.

    A line break in a name is escaped.
    """
    return INDENTED.join(map(printable, message.split(INDENTED)))


def escaped(character: str, kept: str) -> str:
    """The character as Python writes it in a string, unless it is to be kept."""
    number = ord(character)
    if character in kept:
        return character
    if number in BYTES:
        return f"\\x{number - 0xDC00:02x}"
    return ascii(character)[1:-1]


def is_number(text: str) -> bool:
    """Whether the text is a number of any kind."""
    try:
        float(text)
    except ValueError:
        return False
    return True
