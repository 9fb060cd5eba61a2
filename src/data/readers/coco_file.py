"""Opens COCO's annotation file; says what another file is."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from src.data.files.recognise import (
    COCO,
    TITLES,
    converting,
    tool_of_json,
    tool_of_xml,
)
from src.data.files.strange_files import HEAD, plain_text, strange_file
from src.data.readers.coco_entries import BoxEntry, Category, ImageEntry
from src.data.readers.text_lines import LOOKED_AT, table_separator
from src.runtime.errors import InputError
from src.runtime.text import shown

BEGINNING, END = 40, 20  # letters of a file that is not json
SHOWN = 60  # letters of a value
EXPECTED = re.compile(r"Expected `(\w+)`")
JSON_TYPES = {"array": "a list", "object": "an object"}
PLACE = re.compile(r"at `\$([^`]*)`")
STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


class Content(msgspec.Struct):
    """The three lists of the file that are read."""

    images: list[ImageEntry]
    annotations: list[BoxEntry]
    categories: list[Category]


class Head(msgspec.Struct):
    """What tells COCO's annotations from another file; the lists' entries are not looked at."""

    images: list
    annotations: list


class Outline(msgspec.Struct, gc=False):
    """An entry of "annotations", of which only the outline is read."""

    segmentation: Any = None


class Outlines(msgspec.Struct):
    """What is read if boxes are missing."""

    annotations: list[Outline]


ContentType = TypeVar("ContentType")


def load_content(path: Path, kind: type[ContentType] = Content) -> ContentType:
    """The file's lists that `kind` has; InputError where it is not json or lacks one."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return decode(data, kind)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{path}: not COCO's instance annotations: {explain(data, error, path)}"
        ) from error
    except (ValueError, RecursionError) as error:
        if strange := strange_file(data[:HEAD]):
            raise InputError(f"{path}: is {strange}") from error
        raise InputError(f"{path}: not a json file: {not_json(data, error, path)}") from error


def decode(data: bytes, kind: type[ContentType]) -> ContentType:
    """The content of a json file; ValueError where it is none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # the standard library accepts NaN and a byte order mark, and names the wrong line
        return msgspec.convert(json.loads(data), kind)


def explain(data: bytes, error: msgspec.ValidationError, path: Path) -> str:
    """What a json file has that is not COCO's."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return not_json(data, error, path)
    return other_json(value, path) or place_of(error, value)


def place_of(error: msgspec.ValidationError, value: Any) -> str:
    """The error, with the value at its place."""
    place = PLACE.search(str(error))
    if place is None:
        return str(error)
    for name, index in STEP.findall(place[1]):
        try:
            value = value[name] if name else value[int(index)]
        except (LookupError, TypeError):
            return str(error)
    kind = EXPECTED.match(str(error))
    expected = JSON_TYPES.get(kind[1], kind[1]) if kind else str(error)
    name = place[1].removeprefix(".") or "the file"
    return f"{name} is {shown(value, SHOWN)}; expected {expected}"


def not_json(data: bytes, error: Exception, path: Path) -> str:
    """Why a file is no json, and how it begins."""
    end = data.rstrip()[-END:]
    if data.lstrip()[:1] in (b"{", b"[") and end[-1:] not in (b"}", b"]"):
        tail = end.decode(errors="replace")
        return f"it is cut off, as it ends with {tail!r}; copy or download it once more"
    text = plain_text(data[:HEAD])
    lines = text.splitlines()
    if text.startswith("<") and (tool := tool_of_xml(data)):
        return f"it is XML, {TITLES[tool]}; {converting(path, tool)}"
    if table_separator(lines[:LOOKED_AT][: max(len(lines) - 1, 1)]) not in ("", " "):
        return f"it is CSV, which begins {text[:BEGINNING]!r}; {converting(path, 'csv')}"
    if not text or text.startswith("{"):
        return str(error)
    return f"{error}; it begins {text[:BEGINNING]!r}"


def other_json(value: Any, path: Path) -> str:
    """What else a json file holds, and what to do; "" where it is not known."""
    tool = tool_of_json(value)
    if tool and tool != COCO:
        return f"it is {TITLES[tool]}; {converting(path, tool)}"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "score" in value[0]:
        return "it is a list of detections (COCO's results); expected instances_*.json"
    if not isinstance(value, dict):
        found = shown(value, SHOWN)
        return (
            f"it is {found}; expected an object with images, annotations, categories; export it as "
            "COCO's from the tool that wrote it"
        )
    if isinstance(value.get("images"), list) and "annotations" not in value:
        return (
            "it has images but no annotations, as the lists of test images whose answers are not "
            "public; expected a split with annotations"
        )
    return missing_lists(value)


def missing_lists(value: dict) -> str:
    """Which of the lists are missing, and what the file has."""
    missing = [name for name in ("images", "annotations", "categories") if name not in value]
    if not missing:
        return ""
    have = ", ".join(map(shown, list(value)[:10])) or "nothing"
    return f"it has no {' and no '.join(missing)}; it has {have}"
