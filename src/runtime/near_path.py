"""The nearest thing that exists where a path of the user's is not there."""

import os
from difflib import get_close_matches
from pathlib import Path

SHOWN = 5  # names of a folder
MAX_NAMES = 10_000  # of a folder; names of a larger one are not compared
CUTOFF = 0.75  # least similarity of names; "train.txt" and "val.txt" have 0.63


def no_file(path: str | Path, suffix: str = "") -> str:
    """Why there is no file at the path, and what there is; `suffix` as for `nearest`."""
    if not os.path.isdir(path):
        return f"{path}: no such file{nearest(path, suffix)}"
    held = files_within(Path(path), suffix)
    more = ", ..." if len(held) > SHOWN else ""
    names = f"; it holds {', '.join(held[:SHOWN])}{more}" if held else ""
    return f"{path}: is a folder; expected a file{names}"


def no_folder(path: str | Path) -> str:
    """Why there is no folder at the path, and what there is."""
    if os.path.isfile(path):
        return f"{path}: is a file; expected a folder"
    return f"{path}: no such folder{nearest(path)}"


def files_within(folder: Path, suffix: str) -> list[str]:
    """The folder's files that end so, relative to it; without any, those of its folders."""
    names = names_in(folder)
    inner = [f"{name}/{other}" for name in names for other in names_in(folder / name)]
    for some in (names, inner):
        held = [name for name in some if name.endswith(suffix) and os.path.isfile(folder / name)]
        if held:
            return held
    return []


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
