"""The nearest thing that exists where a path of the user's is not there."""

import os
from difflib import get_close_matches
from pathlib import Path

SHOWN = 5  # names of a folder
MAX_NAMES = 10_000  # of a folder; names of a larger one are not compared
CUTOFF = 0.75  # least similarity of names; "train.txt" and "val.txt" have 0.63


def nearest(path: str | Path, suffix: str = "") -> str:
    """ "; there is PATH" with a name nearly that of the first part that is missing, else "".

    With `suffix`, where no name is close, the files in its folder that end so.
    """
    if os.path.exists(path):
        return ""  # it is of another kind, which the caller says
    slashes = str(path).strip().replace("\\", "/")
    if slashes != str(path) and os.path.exists(slashes):
        return f"; there is {slashes}"
    folder, name = first_missing(Path(path))
    names = names_in(folder)
    plain = {other.casefold(): other for other in names}
    if name and (close := get_close_matches(name.casefold(), list(plain), n=1, cutoff=CUTOFF)):
        return f"; there is {folder / plain[close[0]]}"
    files = [other for other in names if suffix and other.endswith(suffix)]
    more = ", ..." if len(files) > SHOWN else ""
    return f"; there is {', '.join(files[:SHOWN])}{more}" if files else ""


def first_missing(path: Path) -> tuple[Path, str]:
    """The folder that is there, and the first part of the path that is not in it."""
    for folder in path.parents:
        if os.path.isdir(folder):
            return folder, path.relative_to(folder).parts[0]
    return path, ""


def names_in(folder: Path) -> list[str]:
    """Names in the folder, in order; none where it cannot be listed or has too many."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
    return names if len(names) <= MAX_NAMES else []
