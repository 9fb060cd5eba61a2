"""Which tool wrote a file of annotations, by its content."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

COCO, LABELME, VIA, CREATEML, CVAT, VOC = "coco", "labelme", "via", "createml", "cvat", "voc"
TITLES = {
    COCO: "COCO's",
    LABELME: "LabelMe's",
    VIA: "VIA's",
    CREATEML: "CreateML's",
    CVAT: "CVAT's",
    VOC: "Pascal VOC's",
}
TOOL_OF_ROOT = {"annotation": VOC, "annotations": CVAT}  # by the root of an xml file
COCO_LISTS = ("images", "annotations", "categories")


def converting(path: Path, tool: str = "TOOL") -> str:
    """Says which command converts a file."""
    command = f"python3 -m src.data.convert --from={tool} {shlex.quote(str(path))} OUTPUT.json"
    return f"'{command}' converts it"


def tool_of_json(value: Any) -> str:
    """The tool that wrote the content of a json file; "" where it is not known."""
    if isinstance(value, list):
        first = value[0] if value and isinstance(value[0], dict) else {}
        return CREATEML if "image" in first and "annotations" in first else ""
    if not isinstance(value, dict):
        return ""
    if all(isinstance(value.get(name), list) for name in COCO_LISTS):
        return COCO
    if "shapes" in value:
        return LABELME
    is_via = any(isinstance(item, dict) and "regions" in item for item in value.values())
    return VIA if is_via or "_via_img_metadata" in value else ""


def tool_of_xml(text: str | bytes) -> str:
    """The tool that wrote an xml file; "" where it is not known."""
    with suppress(ElementTree.ParseError, ValueError):
        return TOOL_OF_ROOT.get(ElementTree.fromstring(text).tag, "")
    return ""
