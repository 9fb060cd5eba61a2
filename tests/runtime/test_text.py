"""Control characters in messages."""

import pytest

from src.data.problems import Problem
from src.runtime.text import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.jpg", "plain.jpg"),
        ("köln 東京 😀.jpg", "köln 東京 😀.jpg"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\rb\nc\td\0e", "a\\rb\\nc\\td\\x00e"),
        ("\x7f\x9b1m", "\\x7f\\x9b1m"),
        ("cat\u202egpj.exe", "cat\\u202egpj.exe"),
        ("\u2066a\u2069\u200f\u2028\ufeff", "\\u2066a\\u2069\\u200f\\u2028\\ufeff"),
        (b"caf\xe9.jpg".decode(errors="surrogateescape"), "caf\\xe9.jpg"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_a_message_keeps_its_own_line_breaks_and_no_others():
    assert printable("a\tb\n\x1bc", lines=True) == "a\tb\n\\x1bc"
    assert printable_lines("2 errors\n  a\nb\n  c\x07") == "2 errors\n  a\\nb\n  c\\x07"


def test_a_problem_is_one_line():
    assert str(Problem("image 1", "no file a\nfit for training")) == (
        "image 1: no file a\\nfit for training"
    )
