"""What the user may have meant by an input that is not there."""

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from src.config.command_line import FLAG_OF_FILE
from src.runtime.errors import InputError
from src.runtime.near_path import SHOWN, names_in, nearest, spellings
from src.runtime.text import count

SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
READ = "http, https, rtsp, rtmp, udp, tcp and srt"


def near_input(text: str) -> str:
    """ "; there is PATH" or the like, to be added to an error; "" where nothing is near."""
    scheme = SCHEME.match(text)
    if scheme and scheme[1].lower() != "file":
        return f"; addresses of {scheme[1]} are not read, those of {READ} are"
    parts = text.split(",")
    if len(parts) > 1 and all(os.path.exists(part.strip()) for part in parts):
        return f"; several inputs are a list, --input='[{', '.join(map(str.strip, parts))}]'"
    if not glob.has_magic(text):
        return nearest(text)
    for pattern in spellings(text, ""):
        if found := matching(pattern):
            return f"; {count(len(found), 'path')} match {pattern}"
    return near_pattern(next(spellings(text, ""), ""))


def matching(pattern: str) -> list[str]:
    """What a pattern stands for; nothing for what the file system cannot hold."""
    try:
        return glob.glob(pattern, recursive=True)
    except (OSError, ValueError):
        return []


def near_pattern(pattern: str) -> str:
    """What the folder in which a pattern begins has instead, or which folder there is."""
    folder = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    if not folder.is_dir():
        return nearest(folder)
    names = [name for name in names_in(folder) if name[0] != "."]
    files = [name for name in names if (folder / name).is_file()]
    held = [f"{number:,} {suffix}" for suffix, number in Counter(map(ending, files)).most_common()]
    held = held or [f"{name}/" for name in names if (folder / name).is_dir()]
    more = ", ..." if len(held) > SHOWN else ""
    return f"; {folder} holds {', '.join(held[:SHOWN])}{more}" if held else ""


def ending(name: str) -> str:
    """ ".jpg", or what a name without one is called."""
    return Path(name).suffix or "without suffix"


def check_arguments(arguments: Sequence[str]) -> None:
    """InputError where an input is no flag's value: one of several that a shell made, or alone."""
    flag = ""  # the last one
    for before, argument in zip(["", *arguments], arguments):
        if argument.startswith("-"):
            flag = argument
        elif (before.startswith("--") and "=" not in before) or before.endswith(","):
            continue  # the value of the flag, or a part of it
        elif flag.partition("=")[0] == "--input":
            pattern = Path(argument).with_name(f"*{Path(argument).suffix}")
            raise InputError(
                f"command line: unknown argument {argument!r}; --input takes one value: a pattern "
                f"in quotes, such as --input='{pattern}', or a list, --input='[a.jpg, b.jpg]'"
            )
        elif Path(argument).suffix in FLAG_OF_FILE:
            continue  # which the parser says
        elif os.path.exists(argument) or glob.has_magic(argument):
            raise InputError(
                f"command line: unknown argument {argument!r}; give it as --input={argument!r}"
            )
