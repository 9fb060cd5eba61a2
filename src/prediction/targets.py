"""Where the annotated copies of inputs go."""

import os
import re
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path

from src.data.images import SUFFIXES
from src.prediction.addresses import shown_name
from src.prediction.inputs import Inputs
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
        is_file = isinstance(source, Path)
        name = source.absolute().relative_to(base) if is_file else stream_name(source)
        suffixes = SUFFIXES if source in pictures else (".mp4",)
        path = folder / name
        if path.suffix.lower() not in suffixes:
            path = path.with_name(path.name + suffixes[0])
        wanted[shown_name(source)] = path
    sources = {real_path(path) for path in files}
    for target in wanted.values():
        if real_path(target) in sources:
            raise InputError(f"{target}: is an input; set --output to another folder")
    return distinct(wanted)


def distinct(wanted: Mapping[str | Path, Path]) -> dict[str | Path, Path]:
    """The targets, all different and none a folder of another: "a-2.jpg" where "a.jpg" is taken.

    Those with the same name as their input keep it.
    """
    taken = {parent for target in wanted.values() for parent in target.parents}
    targets: dict[str | Path, Path] = {}
    for name in sorted(wanted, key=lambda name: os.path.basename(name) != wanted[name].name):
        path = wanted[name]
        others = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
        targets[name] = next(one for one in chain([path], others) if one not in taken)
        taken.add(targets[name])
    return targets


def stream_name(address: str) -> str:
    """A file name without suffix: "camera0", "host_path" without user, password and query."""
    if address.isdecimal():
        return f"camera{address}"
    place = shown_name(address).partition("?")[0].partition("://")[2] or address
    return re.sub(r"[^\w.-]+", "_", place).strip("._")[:STREAM_NAME] or "stream"
