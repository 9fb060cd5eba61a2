"""Where the annotated copies of inputs go."""

import os
import re
from collections.abc import Mapping, Set
from itertools import count
from pathlib import Path

from src.data.images import SUFFIXES
from src.prediction.inputs import Inputs
from src.prediction.unreachable import shown_address
from src.runtime.errors import InputError
from src.runtime.special_files import real_path

STREAM_NAME = 80  # characters of an address in a file name


def plan_targets(folder: Path, text: str, inputs: Inputs) -> dict[str | Path, Path]:
    """Path of each annotated copy below `folder`, with the subfolders of the inputs.

    Keys are paths of inputs, and addresses as they are shown. An input whose copy would have the
    name of another's gets a number.

    Args:
        text: the user's --input; if it is a folder, subfolders are relative to it.

    Raises:
        InputError: a copy would overwrite an input.
    """
    files = [source for source in inputs.all if isinstance(source, Path)]
    base = Path(text).absolute()
    if files and not os.path.isdir(text):
        base = Path(os.path.commonpath([path.absolute().parent for path in files]))
    pictures, wanted = set(inputs.images), {}
    for source in inputs.all:
        if isinstance(source, Path):
            name, key = source.absolute().relative_to(base), source
        else:
            name, key = Path(stream_name(source)), shown_address(source)
        wanted[key] = with_suffix(folder / name, SUFFIXES if source in pictures else (".mp4",))
    sources = {real_path(path) for path in files}
    for target in wanted.values():
        if real_path(target) in sources:
            raise InputError(f"{target}: is an input; set --output to another folder")
    return distinct(wanted)


def with_suffix(path: Path, allowed: tuple[str, ...]) -> Path:
    """The path, with the first allowed suffix appended unless it has one of them."""
    return path if path.suffix.lower() in allowed else path.with_name(path.name + allowed[0])


def distinct(wanted: Mapping[str | Path, Path]) -> dict[str | Path, Path]:
    """The targets, all different and none a folder of another: "a-2.jpg" where "a.jpg" is taken.

    Those that are called like their input keep their name.
    """
    folders = {parent for target in wanted.values() for parent in target.parents}
    others = folders | set(wanted.values())
    targets: dict[str | Path, Path] = {}
    taken = set(folders)
    for name in sorted(wanted, key=lambda name: os.path.basename(name) != wanted[name].name):
        target = wanted[name]
        if target in taken:
            target = numbered(target, taken | others)
        targets[name] = target
        taken.add(target)
    return targets


def numbered(path: Path, taken: Set[Path]) -> Path:
    """The path with the first number from 2 on that is free."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(name for name in names if name not in taken)


def stream_name(address: str) -> str:
    """A file name without suffix: "camera0", "host_path" without user, password and query."""
    if address.isdecimal():
        return f"camera{address}"
    place = shown_address(address).partition("?")[0].partition("://")[2] or address
    return re.sub(r"[^\w.-]+", "_", place).strip("._")[:STREAM_NAME] or "stream"
