"""Finds what to predict on: an address, a file, or what is read of a folder or a pattern."""

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from src.data.files.file_kinds import (
    APPLE_DOUBLE,
    EMPTY,
    IMAGE,
    OTHER,
    UNREAD,
    VIDEO,
    is_hidden,
    kind_of,
)
from src.data.images import SUFFIXES
from src.runtime.errors import InputError
from src.runtime.text import count, listed

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv",
    ".ts", ".m2ts", ".mts", ".3gp", ".ogv", ".h264", ".264", ".h265", ".hevc", ".mjpeg", ".mjpg",
)  # fmt: skip
MOTION_JPEG = (".mjpeg", ".mjpg")  # JPEGs one after another
ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt)://", re.IGNORECASE)
CAMERA = re.compile("[0-9]{1,3}")

HIDDEN = "hidden, or left by a system"
FOREIGN = "neither image nor video"
OUTPUT = "earlier output"
LINKED = "a link to a folder; give it as --input"
UNLISTED = "a folder that cannot be listed"


@dataclass
class Inputs:
    """What to predict on, and what is passed over, by reason."""

    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    stream: str = ""  # number of a camera or address; without files
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    root: str = ""  # the folder's path with "/", which messages leave out

    @property
    def count(self) -> int:
        return len(self.images) + len(self.videos) + bool(self.stream)

    def pass_over(self, reason: str, path: str | Path) -> None:
        """Notes that a path is not read."""
        self.passed_over.setdefault(reason, []).append(str(path))

    def lines(self) -> list[str]:
        """What is passed over, a line for each reason."""
        return [f"passed over {text}" for text in self.reasons()]

    def reasons(self) -> Iterator[str]:
        """ "4 paths: hidden, or left by a system (._a.jpg, .b, c/.d and 1 more)"."""
        for reason, paths in self.passed_over.items():
            names = [path.removeprefix(self.root) for path in paths]
            yield f"{count(len(paths), 'path')}: {reason} ({listed(names)})"


def find_inputs(text: str, output: Path) -> Inputs:
    """What a camera's number, an address, a file, a folder or a glob pattern stands for.

    A folder is read with all below it. What a file is goes by its content; one of another content
    whose name ends like an image's or a video's is taken at its word, and fails when it is read.

    Args:
        output: folder of earlier output, whose files a folder or pattern does not include.

    Raises:
        InputError: nothing was found.
    """
    inputs = Inputs()
    if os.path.isdir(text):
        inputs.root = os.path.join(Path(text), "")
        sort(walk(Path(text), output.resolve(), inputs), inputs)
    elif os.path.exists(text):
        return find_file(Path(text))
    elif CAMERA.fullmatch(text) or ADDRESS.match(text):
        return Inputs(stream=text)
    else:
        found = sorted(Path(name) for name in expanded(text))
        sort(without(output.resolve(), found, inputs), inputs)
    if not inputs.count:
        raise InputError(nothing_found(text, output, inputs))
    return inputs


def find_file(path: Path) -> Inputs:
    """The file or device that the user names.

    Raises:
        InputError: its format is not read.
    """
    if stat.S_ISCHR(path.stat().st_mode):
        return Inputs(stream=str(path))  # /dev/video0
    what, name = content(path)
    if what == UNREAD:
        raise InputError(f"{path}: {not_read(name)}")
    return Inputs(videos=[path]) if what == VIDEO else Inputs(images=[path])


def walk(folder: Path, output: Path, inputs: Inputs) -> Iterator[Path]:
    """Files below the folder, by name; hidden ones, output and links to folders are passed over."""

    def unlisted(error: OSError) -> None:
        inputs.pass_over(f"{UNLISTED}: {error.strerror}", f"{error.filename}/")

    if output in (top := folder.resolve(), *top.parents):
        inputs.pass_over(OUTPUT, f"{folder}/")
        return
    paths = []
    for parent, folders, files in os.walk(folder, onerror=unlisted):
        for name in sorted(folders):
            path = Path(parent, name)
            reason = HIDDEN if is_hidden(name) else LINKED if path.is_symlink() else ""
            if not reason and path.resolve() == output:
                reason = OUTPUT
            if reason:
                folders.remove(name)
                inputs.pass_over(reason, f"{path}/")
        paths += [Path(parent, name) for name in files]
    for path in sorted(paths):
        if is_hidden(path.name):
            inputs.pass_over(HIDDEN, path)
        else:
            yield path


def expanded(pattern: str) -> list[str]:
    """What a pattern stands for; nothing for what the file system cannot hold."""
    try:
        return glob.glob(pattern, recursive=True)
    except (OSError, ValueError):
        return []


def without(output: Path, paths: Iterable[Path], inputs: Inputs) -> Iterator[Path]:
    """The files that are not in `output`."""
    for path in paths:
        if output in path.resolve().parents:
            inputs.pass_over(OUTPUT, path)
        elif not path.is_dir():
            yield path


def sort(paths: Iterable[Path], inputs: Inputs) -> None:
    """Adds the files to the inputs, each by its kind."""
    for path in paths:
        if path.exists() and not path.is_file():
            inputs.pass_over("no regular file", path)
            continue
        what, name = content(path)
        if what == IMAGE:
            inputs.images.append(path)
        elif what == VIDEO:
            inputs.videos.append(path)
        else:
            inputs.pass_over(name if what == OTHER else not_read(name), path)


def content(path: Path) -> tuple[str, str]:
    """What a file is, IMAGE, VIDEO, UNREAD with its format, or OTHER with the reason."""
    suffix = path.suffix.lower()
    claimed = IMAGE if suffix in SUFFIXES else VIDEO if suffix in VIDEO_SUFFIXES else OTHER
    try:
        kind = kind_of(path)
    except OSError as error:
        return (claimed, "") if claimed != OTHER else (OTHER, f"cannot be read: {error.strerror}")
    if kind == APPLE_DOUBLE:
        return OTHER, HIDDEN
    if kind.what != OTHER:
        motion = kind.name == "JPEG" and suffix in MOTION_JPEG
        return (VIDEO if motion else kind.what), kind.name
    return claimed, "empty" if kind == EMPTY else FOREIGN


def not_read(name: str) -> str:
    """Why files of this format are passed over."""
    return f"{name}, which is not read; convert to JPEG, PNG or MP4"


def nothing_found(text: str, output: Path, inputs: Inputs) -> str:
    """Why there is nothing to predict on."""
    if list(inputs.passed_over) == [OUTPUT]:
        return f"{text}: all of it is in {output}; set --output to another folder"
    if inputs.passed_over:
        return f"{text}: holds nothing that is read; passed over " + "; ".join(inputs.reasons())
    what = "the folder is empty" if os.path.isdir(text) else "no such file, folder or match"
    return f"{text}: {what}; check --input: an image, a video, a folder of them or an address"
