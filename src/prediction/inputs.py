"""Finds what to predict on: addresses, files, or what is read of a folder or a pattern."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import yaml

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
from src.prediction.addresses import address_content, shown_name
from src.runtime.errors import InputError
from src.runtime.near_path import nearest
from src.runtime.special_files import is_camera, real_path, special_kind
from src.runtime.text import INDENTED, count, is_utf8, listed

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
    """What to predict on, what is passed over, and what fails."""

    images: list[Path | str] = field(default_factory=list)  # files, and addresses of pictures
    videos: list[Path | str] = field(default_factory=list)  # files, addresses, numbers of cameras
    failed: dict[str, str] = field(default_factory=dict)  # reasons by path or shown address
    passed_over: dict[str, list[str]] = field(default_factory=dict)  # paths by reason
    root: str = ""  # the folder's path with "/", which messages leave out

    @property
    def all(self) -> list[Path | str]:
        return [*self.images, *self.videos]

    @property
    def stream(self) -> str:
        """The camera or address of a video where that is the only input; else ""."""
        (only, *others) = self.all or [""]
        return only if isinstance(only, str) and self.videos and not others else ""

    def shown(self, name: str | Path) -> str:
        """An input's name in messages, in a folder relative to that."""
        return str(name).removeprefix(self.root)

    def pass_over(self, reason: str, path: str | Path) -> None:
        """Notes that a path is not read."""
        self.passed_over.setdefault(reason, []).append(str(path))

    def fail(self, name: Path | str, reason: str) -> None:
        """Notes that an input failed; its first reason counts."""
        self.failed.setdefault(str(name), reason)

    def add(self, other: "Inputs") -> None:
        """Adds other inputs, each once."""
        self.images = list(dict.fromkeys([*self.images, *other.images]))
        self.videos = list(dict.fromkeys([*self.videos, *other.videos]))
        for reason, paths in other.passed_over.items():
            self.passed_over.setdefault(reason, []).extend(paths)

    def lines(self) -> list[str]:
        """What is passed over, a line for each reason, and the addresses that failed."""
        failed = [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return [f"passed over {text}" for text in self.reasons()] + failed

    def reasons(self) -> Iterator[str]:
        """ "4 paths: hidden, or left by a system (._a.jpg, .b, c/.d and 1 more)"."""
        for reason, paths in self.passed_over.items():
            names = listed(list(map(self.shown, paths)))
            yield f"{count(len(paths), 'path')}: {reason} ({names})"


def find_inputs(text: str, output: Path) -> Inputs:
    """What a camera's number, an address, a file, a folder, a pattern or a list of them stands for.

    A folder is read with all below it. What a file is goes by its content; one of another content
    whose name ends like an image's or a video's is taken at its word, and fails when it is read.

    Args:
        output: folder of earlier output, whose files a folder or pattern does not include.

    Raises:
        InputError: nothing was found.
    """
    inputs = Inputs()
    if (names := list_of(text)) and not os.path.exists(text):
        return find_all(names, output)
    if os.path.isdir(text):
        inputs.root = os.path.join(Path(text), "")
        sort(walk(Path(text), real_path(output), inputs), inputs)
    elif os.path.exists(text):
        return find_file(Path(text))
    elif CAMERA.fullmatch(text) or ADDRESS.match(text):
        return at_address(text)
    else:
        found = [] if os.path.islink(text) else sorted(map(Path, matching(text)))
        sort(without(real_path(output), found, inputs), inputs)
    if not inputs.all:
        raise InputError(nothing_found(text, output, inputs))
    return inputs


def list_of(text: str) -> list[str]:
    """The entries of a list "[a.jpg, b.mp4]"; empty if the text is no list."""
    if not (text.startswith("[") and text.endswith("]")):
        return []
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError:
        return []
    return [os.path.expanduser(str(one)) for one in entries if isinstance(one, (str, int))]


def find_all(names: list[str], output: Path) -> Inputs:
    """Several inputs as one; those at addresses fail alone, unless all do.

    Raises:
        InputError: of the first that is a file or pattern and is not there; or all failed.
    """
    inputs = Inputs()
    for name in names:
        try:
            inputs.add(find_inputs(name, output))
        except InputError as error:
            if not ADDRESS.match(name):
                raise
            shown = shown_name(name)
            inputs.fail(shown, str(error).removeprefix(f"{shown}: "))
    if not inputs.all:
        reasons = (f"{name}: {reason}" for name, reason in inputs.failed.items())
        raise InputError(f"no input can be read{INDENTED}" + INDENTED.join(reasons))
    return inputs


def at_address(text: str) -> Inputs:
    """The picture or video at an address, or a camera; InputError where none can be read."""
    if not is_utf8(text):
        raise InputError(f"{shown_name(text)}: not UTF-8; check --input")
    return single(text, *((VIDEO, "") if CAMERA.fullmatch(text) else address_content(text)))


def find_file(path: Path) -> Inputs:
    """The file or device that the user names; InputError where it is neither, or is not read."""
    if is_camera(path):
        return Inputs(videos=[str(path)])
    if kind := special_kind(path):
        raise InputError(f"{path}: is {kind}, neither a file nor a camera; check --input")
    return single(path, *content(path))


def single(source: Path | str, what: str, name: str) -> Inputs:
    """One input by its content, see `content`; InputError for a format that is not read."""
    if what == UNREAD:
        raise InputError(f"{shown_name(source)}: {not_read(name)}")
    return Inputs(videos=[source]) if what == VIDEO else Inputs(images=[source])


def walk(folder: Path, output: Path, inputs: Inputs) -> Iterator[Path]:
    """Files below the folder, by name; hidden ones, output and links to folders are passed over."""

    def unlisted(error: OSError) -> None:
        inputs.pass_over(f"{UNLISTED}: {error.strerror}", f"{error.filename}/")

    if output in (top := real_path(folder), *top.parents):
        inputs.pass_over(OUTPUT, f"{folder}/")
        return
    paths = []
    for parent, folders, files in os.walk(folder, onerror=unlisted):
        for name in sorted(folders):
            path = Path(parent, name)
            reason = HIDDEN if is_hidden(name) else LINKED if path.is_symlink() else ""
            if not reason and real_path(path) == output:
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


def without(output: Path, paths: Iterable[Path], inputs: Inputs) -> Iterator[Path]:
    """The files that are not in `output`."""
    for path in paths:
        if output in real_path(path).parents:
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
    what = f"no such file, folder or match{near_input(text)}"
    if os.path.isdir(text):
        what = "the folder is empty"
    return f"{text}: {what}; check --input: an image, a video, a folder of them or an address"


def near_input(text: str) -> str:
    """ "; there is PATH" or the like, to be added to an error; "" where nothing is near."""
    parts = text.split(",")
    if len(parts) > 1 and all(os.path.exists(part.strip()) for part in parts):
        return f"; several inputs are a list, --input='[{', '.join(map(str.strip, parts))}]'"
    if not glob.has_magic(text):
        return nearest(text)
    return nearest(Path(*takewhile(lambda part: not glob.has_magic(part), Path(text).parts)))


def matching(pattern: str) -> list[str]:
    """What a pattern stands for; nothing for what the file system cannot hold."""
    try:
        return glob.glob(pattern, recursive=True)
    except (OSError, ValueError):
        return []


def check_arguments(arguments: Sequence[str]) -> None:
    """InputError where a shell has made several values of a pattern: `--input *.jpg`."""
    for flag, _, second in zip(arguments, arguments[1:], arguments[2:]):
        if flag == "--input" and not second.startswith("-"):
            raise InputError(
                f"command line: unknown argument {second!r}; --input takes one value: a pattern in "
                "quotes, such as --input='*.jpg', or a list, --input='[a.jpg, b.jpg]'"
            )
