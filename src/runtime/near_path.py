"""Suggestions for paths that do not exist."""

import os
import unicodedata
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

SHOWN = 5  # names of a folder
MAX_NAMES = 10_000  # of a folder; names of a larger one are not compared
LEAST_START = 3  # letters of a name that identify it by its beginning
CUTOFF = 0.75  # least similarity of names; "train.txt" and "val.txt" have 0.63


def no_file(path: str | Path, suffix: str = "") -> str:
    """A message that there is no file at the path, with a suggestion; `suffix` as for `nearest`."""
    if not os.path.isdir(path):
        hint = nearest(path, suffix)
        there = hint.removeprefix("; there is ")
        is_folder = os.path.isdir(there) and len(Path(there).parts) == len(Path(path).parts)
        hint = f"; there is the folder {there}" if is_folder else hint
        return f"{path}: no such file{hint}"
    held = files_within(Path(path), suffix)
    more = ", ..." if len(held) > SHOWN else ""
    names = f"; it holds {', '.join(held[:SHOWN])}{more}" if held else ""
    return f"{path}: is a folder; expected a file{names}"


def no_folder(path: str | Path) -> str:
    """A message that there is no folder at the path, with a suggestion."""
    if os.path.exists(path) and not os.path.isdir(path):
        return f"{path}: is {'a' if os.path.isfile(path) else 'no regular'} file; expected a folder"
    return f"{path}: no such folder{nearest(path)}"


def files_within(folder: Path, suffix: str) -> list[str]:
    """Files with the suffix in the folder, relative to it; if there are none, in its folders."""
    names = names_in(folder)
    inner = [f"{name}/{other}" for name in names for other in names_in(folder / name)]
    for some in (names, inner):
        held = [name for name in some if name.endswith(suffix) and os.path.isfile(folder / name)]
        if held:
            return held
    return []


def nearest(path: str | Path, suffix: str = "", base: str | Path = "") -> str:
    """ "; there is PATH" with the nearest thing that exists, else "".

    That is the path in another spelling, its end below `base`, or with a similar name for the first
    part that is missing. If nothing is near, it is the files in its folder that end with `suffix`.
    """
    if os.path.exists(path):
        return ""  # but it is of another kind, which the caller reports
    if broken := broken_link(Path(path)):
        return f"; {broken}"
    if other := next(filter(os.path.exists, spellings(str(path), base)), ""):
        return f"; there is {other}"
    folder, name = first_missing(Path(path))
    names = names_in(folder)
    if name and (close := nearest_name(name, names)):
        return f"; there is {folder / close}"
    files = [name for name in names if suffix and name.endswith(suffix) and name[0] != "."]
    more = ", ..." if len(files) > SHOWN else ""
    return f"; there is {', '.join(files[:SHOWN])}{more}" if files else ""


def broken_link(path: Path) -> str:
    """A message on the first part of the path that is a link to nothing; else ""."""
    for part in (*reversed(path.parents), path):
        if os.path.islink(part) and not os.path.exists(part):
            return f"{part} is a link to {os.readlink(part)}, which leads nowhere"
    return ""


def spellings(text: str, base: str | Path) -> Iterator[str]:
    """What the path may mean: without quotes, with slashes, URL-decoded, its end below `base`."""
    plain = text.strip().strip("\"'").strip().removeprefix("file://").replace("\\", "/")
    if not plain or "\0" in plain:
        return
    for spelled in dict.fromkeys((plain, unquote(plain))):
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, spelled)
    parts = Path(plain).parts
    last = len(parts) - (0 if base else 1)  # a name alone is looked up below a base only
    yield from (os.path.join(base, *parts[start:]) for start in range(1, last))


def nearest_name(name: str, names: list[str]) -> str:
    """The nearest of the names by case, suffix, letters or beginning; "" if none is near."""
    plain = {other.casefold(): other for other in names}
    wanted = name.strip().casefold()
    if wanted in plain:
        return plain[wanted]
    stem = Path(wanted).stem
    if found := [other for short, other in plain.items() if Path(short).stem == stem]:
        return found[0]
    if close := get_close_matches(wanted, list(plain), n=1, cutoff=CUTOFF):
        return plain[close[0]]
    longer = [other for short, other in plain.items() if short.startswith(wanted)]
    return longer[0] if len(longer) == 1 and len(wanted) >= LEAST_START else ""


def first_missing(path: Path) -> tuple[Path, str]:
    """The folder that is there, and the first part of the path that is not in it."""
    for folder in path.parents:
        if os.path.isdir(folder):
            return folder, path.relative_to(folder).parts[0]
    return path, ""


def names_in(folder: Path) -> list[str]:
    """Names in the folder, in order; none if it cannot be listed or has too many."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
    return names if len(names) <= MAX_NAMES else []
