"""What is converted, where its images are, and what is said of it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from src.data.conversion.shapes import Box, Corners, labelled
from src.data.files.folder import Folder
from src.data.files.image_files import TRIED, outside
from src.data.files.recognise import COCO, TITLES, tool_of_json
from src.data.images import SUFFIXES, read_size
from src.runtime.errors import InputError
from src.runtime.text import count

NO_NUMBER = re.compile(r"could not convert string to float: (.*)|invalid literal for int.*: (.*)")
OTHER_KIND = "a part of it is of another kind than expected"
WIDE_STARTS = (b"\xff\xfe", b"\xfe\xff")
READ_DIRECTLY = "is COCO's, which is read as it is: --train_json={} --train_images=FOLDER"


@dataclass
class Job:
    """What is converted, and what was left out."""

    input: Path
    images: Path  # folder of the images
    label: str = ""  # via: attribute with the class
    class_name: str = ""  # of all boxes, where the annotations have none
    is_given: bool = False  # whether the user named the folder of the images
    left_out: Counter[str] = field(default_factory=Counter)
    are_missing: bool = False  # whether no image is there
    notes: list[str] = field(default_factory=list)  # for the user, at the end

    def __post_init__(self) -> None:
        self.folder = Folder(self.images)

    def found(self, name: str) -> str | None:
        """The file of a name, which may have other folders in front, or no suffix."""
        file, match = self.folder.resolve(name)
        if file is None and match and match.is_by_end:
            return match.name
        if file is None and not name.lower().endswith(SUFFIXES):
            return self.folder.with_suffix(name, SUFFIXES)
        return file

    def own_names(self, names: list[str]) -> dict[str, str]:
        """The names as they are written: of their files, where these are found by end or suffix.

        A note says how many are not those of the annotations.
        """
        own = {}
        for name in names:
            is_near = self.folder.resolve(name)[0] is None
            own[name] = (self.found(name) if is_near else None) or name
        if len(set(own.values())) < len(own):
            return {name: name for name in names}
        changed = [name for name, file in own.items() if file != name]
        if changed:
            self.notes.append(
                f"{count(len(changed), 'name')} of images taken as files that are there, such as "
                f"{own[changed[0]]!r} for {changed[0]!r}"
            )
        return own

    def missing(self, names: list[str]) -> list[str]:
        """Those of the images that are not there."""
        return [name for name in names if self.found(name) is None]

    def files(self, suffix: str) -> list[Path]:
        """The input, or the files of this suffix in the folder that it is."""
        if not self.input.is_dir():
            return [self.input]
        found = sorted(self.input.rglob(f"*{suffix}"))
        found = [path for path in found if not path.name.startswith(".")]
        if not found:
            raise InputError(f"{self.input}: no file *{suffix} in it")
        return found

    def only_file(self) -> Path:
        """The input, which must be a file."""
        if self.input.is_dir():
            raise InputError(f"{self.input}: is a folder; expected one file")
        return self.input

    def size_of(self, name: str) -> tuple[int, int]:
        """Width and height of an image in pixels, by its header."""
        try:
            return read_size(self.images / (self.found(name) or name))
        except InputError as error:
            raise InputError(
                f"{self.input}: has no size of the image: {error}; name the images' folder with "
                "--images"
            ) from None

    def boxes_of(self, shapes: Iterable[tuple[str, Any, Corners | None]]) -> list[Box]:
        """Boxes of shapes (kind, class, corners); those without corners are counted by kind."""
        boxes = []
        for kind, label, corners in shapes:
            if corners:
                boxes.append(labelled(label, corners))
            else:
                self.left_out[kind] += 1
        return boxes

    def find_images(self, names: list[str]) -> None:
        """Sets `images` to where they are, if that is near; notes what is missing.

        InputError where the user named another folder.
        """
        missing = self.missing(names)
        if names and len(missing) == len(names):
            inside = self.images / "any"  # what is around it is looked at
            base = outside(inside, names[:TRIED]) or outside(self.images, names[:TRIED])
            if base and self.is_given:
                raise InputError(
                    f"{self.images}: no {names[0]!r} in it; they are in {base}: set --images={base}"
                )
            if base:
                self.images, self.folder = base, Folder(base)
                missing = self.missing(names)
        if missing:
            which = f"{len(missing):,} of {count(len(names), 'image')}, such as {missing[0]!r}"
            self.notes.append(f"not in {self.images}: {which}; name their folder with --images")
        self.are_missing = bool(names) and len(missing) == len(names)


@contextmanager
def reading(where: str, what: str) -> Iterator[None]:
    """Turns what a parser raises on other content into an InputError that says `where` it is."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # parsers raise whatever their own lookups do
        raise InputError(f"{where}: not {what} ({reason_of(error)[:120]})") from error


def reason_of(error: Exception) -> str:
    """What an exception of a parser means to the user."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, UnicodeDecodeError):
        is_wide = bytes(error.object[:2]) in WIDE_STARTS
        return f"it is {'UTF-16' if is_wide else 'not UTF-8'}; save it as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error}"
    if isinstance(error, ElementTree.ParseError):
        return f"no XML: {error}"
    if isinstance(error, (TypeError, AttributeError, IndexError)):
        return OTHER_KIND
    if found := NO_NUMBER.match(str(error)):
        return f"{found[1] or found[2]} is no number"
    return str(error)


def load_json(path: Path, what: str, tool: str) -> Any:
    """The content of a json file of a tool; InputError names another tool that wrote it."""
    with reading(str(path), what):
        text = path.read_text(encoding="utf-8-sig")
        if text.startswith("filename,file_size,"):
            raise InputError(
                f"{path}: is VIA's CSV; export the annotations as JSON and use --from=via"
            )
        content = json.loads(text)
    other = tool_of_json(content)
    if other == COCO:
        raise InputError(f"{path}: {READ_DIRECTLY.format(path)}")
    if other not in ("", tool):
        raise InputError(f"{path}: not {what}: it is {TITLES[other]}; use --from={other}")
    return content
