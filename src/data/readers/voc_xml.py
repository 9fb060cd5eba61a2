"""Parses an annotation of Pascal VOC, and of tools that write nearly the same."""

import os
from pathlib import Path
from xml.etree import ElementTree

from src.data.files.recognise import TOOL_OF_ROOT, converting
from src.data.files.strange_files import head_of, strange_file
from src.data.images import EMPTY
from src.data.problems import MalformedRecord, Problems
from src.data.readers.building import MAX_SIDE, Builder
from src.runtime.errors import InputError
from src.runtime.special_files import refuse_special

CORNERS = ("xmin", "ymin", "xmax", "ymax")
FIRST_PIXEL = 1  # VOC counts pixels from 1 and names the last one inside the box
YES = ("1", "true", "yes")


def parse_annotation(path: Path, problems: Problems) -> ElementTree.Element:
    """The file's <annotation>; InputError where it cannot be read or has something else."""
    try:
        refuse_special(path)
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # or its encoding is unknown
        kind = strange_file(head_of(path))
        raise InputError(f"{path}: {f'is {kind}' if kind else not_xml(path, error)}") from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]  # without its namespace
    if root.tag != "annotation":
        what = f"begins with <{root.tag}>, not with VOC's <annotation>"
        if root.find("object/bndbox") is None:
            tool = TOOL_OF_ROOT.get(root.tag, "TOOL")
            raise InputError(f"{path}: {what}; {converting(path, tool)}")
        problems.repair(path.name, f"<{root.tag}> read as <annotation>")
    return root


def not_xml(path: Path, error: Exception) -> str:
    """Why a file is no XML, by the parser's error."""
    if not os.path.getsize(path):
        return EMPTY
    return f"not XML: {error}"


def image_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height in pixels from the annotation; None where it has none."""
    try:
        sides = [float(root.findtext(f"size/{side}", "0")) for side in ("width", "height")]
    except ValueError:
        return None
    is_whole = all(1 <= side < MAX_SIDE and side.is_integer() for side in sides)
    return (int(sides[0]), int(sides[1])) if is_whole else None


def add_objects(builder: Builder, root: ElementTree.Element, file: str) -> None:
    """Adds the objects of the image that was added last."""
    for position, item in enumerate(root.findall("object"), 1):
        where = f"{file}, object {position}"
        with builder.problems.at(where):
            box, name = parse_box(item), (item.findtext("name") or "").strip()
            if not name:
                raise MalformedRecord("", "has no <name>; expected that of its class")
            builder.add_named(where, box, name, is_difficult(item, where, builder.problems))


def parse_box(item: ElementTree.Element) -> tuple[float, ...]:
    """Box (x1, y1, x2, y2) of an <object>; InputError where it is malformed."""
    box = item.find("bndbox")
    if box is None:
        others = ", ".join(f"<{child.tag}>" for child in item) or "nothing"
        raise MalformedRecord("", f"has no <bndbox>; it has {others}")
    corners = []
    for key in CORNERS:
        text = box.findtext(key)
        if text is None:
            what = f"<bndbox> has no <{key}>; expected {', '.join(CORNERS)}"
            raise MalformedRecord("", what)
        try:
            corners.append(float(text.replace("_", "?")))  # Python would take 1_0 for 10
        except ValueError as error:
            found = f"<{key}> is {text.strip()[:60]!r}"
            raise MalformedRecord(found, "; expected a number") from error
    x1, y1, x2, y2 = corners
    return x1 - FIRST_PIXEL, y1 - FIRST_PIXEL, x2, y2


def is_difficult(item: ElementTree.Element, where: str, problems: Problems) -> bool:
    """Whether an <object> is marked as difficult; text that says neither is taken as no."""
    text = (item.findtext("difficult", "0") or "").strip()
    if text in ("0", "1"):
        return text == "1"
    found = text.casefold() in YES
    problems.repair(where, f"difficult {text[:20]!r} taken as {int(found)}")
    return found
