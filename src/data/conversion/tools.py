"""Annotation files of labelling tools, one image at a time."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from src.data.conversion.job import Job, load_json, reading
from src.data.conversion.shapes import (
    Corners,
    LabelledImage,
    around_circle,
    around_ellipse,
    around_points,
    around_turned,
    labelled,
)
from src.data.files.recognise import CREATEML, LABELME, VIA
from src.data.images import SUFFIXES
from src.data.problems import Problems
from src.data.readers.voc_xml import image_size, parse_annotation, parse_box
from src.runtime.errors import InputError
from src.runtime.text import count, listed

# whose points are inside a box around them
LABELME_OUTLINES = ("rectangle", "oriented_rectangle", "polygon", "linestrip")


def labelme(job: Job) -> Iterator[LabelledImage]:
    """LabelMe's files, one for each image; shapes with an area, by the boxes around them."""
    what = "LabelMe's annotations of an image"
    paths = job.files(".json")
    named: dict[Path, str] = {}
    found = []
    for path in paths:
        content = load_json(path, what, LABELME)
        with reading(str(path), what):
            shapes = content["shapes"]
            boxes = job.boxes_of((s["shape_type"], s["label"], labelme_box(s)) for s in shapes)
            size = int(content["imageWidth"]), int(content["imageHeight"])
            name = str(content["imagePath"]).replace("\\", "/")
        named[path] = name
        found.append((path, size, boxes))
    files = labelme_images(job, named)
    for path, size, boxes in found:
        yield LabelledImage(files[path], size, boxes)


def labelme_images(job: Job, named: dict[Path, str]) -> dict[Path, str]:
    """The image of each json file, which names one: that, or the one that is called as the file.

    Names are relative to the job's folder of images. The latter is taken where imagePath is not
    there, or several files have the same. InputError where these are not there either.
    """
    folders = {
        path: path.parent.relative_to(job.input) if job.input.is_dir() else Path() for path in named
    }
    files = {path: os.path.normpath(folders[path] / name) for path, name in named.items()}
    used = Counter(files.values())
    others = 0
    for path, file in files.items():
        base = os.path.basename(file)
        candidates = [file, str(folders[path] / base), base]
        if found := next((name for name in candidates if job.folder.holds(name)), None):
            files[path] = found
        if found and used[file] == 1:
            continue
        own = (str(folders[path] / path.stem), path.stem)
        same = next((f for name in own if (f := job.folder.with_suffix(name, SUFFIXES))), None)
        if same:
            files[path], others = same, others + (same != found)
        elif used[file] > 1:
            twice = [str(other) for other in named if files[other] == files[path]]
            raise InputError(f"{' and '.join(twice[:2])}: have the same imagePath, {file!r}")
    if others:
        job.notes.append(
            f"imagePath of {count(others, 'file')} is not there, or another file's too: the image "
            "called as the json file was taken"
        )
    return files


def labelme_box(shape: dict) -> Corners | None:
    """The box around a shape; None for one that has no area."""
    kind, points = shape["shape_type"], shape["points"]
    if kind in LABELME_OUTLINES:
        return around_points(points)
    if kind == "circle":
        return around_circle(*points)
    if kind == "mask":  # by its first and last pixels
        x1, y1, x2, y2 = around_points(points)
        return x1, y1, x2 + 1, y2 + 1
    return None


def cvat(job: Job) -> Iterator[LabelledImage]:
    """CVAT's file "for images"; shapes with an area, by the boxes around them."""
    what = "CVAT's annotations for images"
    path = job.only_file()
    with reading(str(path), what):
        root = ElementTree.parse(path).getroot()
        nodes = list(root.iter("image"))
        if root.tag != "annotations" or not (nodes or root.find("track") is None):
            found = "for video, whose tracks are not read" if root.find("track") is not None else ""
            raise InputError(f"{path}: not {what}: it is {found or f'<{root.tag}>'}")
    for node in nodes:
        with reading(f"{path}: image {node.get('name')!r}", what):
            shapes = [shape for shape in node if shape.tag != "tag"]  # which is of the whole image
            boxes = job.boxes_of((s.tag, s.get("label"), cvat_box(s)) for s in shapes)
            size = int(node.attrib["width"]), int(node.attrib["height"])
            yield LabelledImage(node.attrib["name"], size, boxes)


def cvat_box(shape: ElementTree.Element) -> Corners | None:
    """The box around a shape, which may be rotated; None for one that has no area."""

    def values(*keys: str) -> list[float]:
        return [float(shape.attrib[key]) for key in keys]

    angle = math.radians(float(shape.get("rotation", 0)))
    if shape.tag == "box":
        return around_turned(tuple(values("xtl", "ytl", "xbr", "ybr")), angle)
    if shape.tag == "ellipse":
        x, y, rx, ry = values("cx", "cy", "rx", "ry")
        return around_ellipse((x, y), rx, ry, angle)
    if shape.tag == "mask":
        left, top, width, height = values("left", "top", "width", "height")
        return left, top, left + width, top + height
    if shape.tag in ("polygon", "polyline"):
        pairs = shape.attrib["points"].split(";")
        return around_points([tuple(map(float, pair.split(","))) for pair in pairs])
    return None


def via(job: Job) -> Iterator[LabelledImage]:
    """VGG Image Annotator's json, of a project or exported; rectangles, polygons, circles."""
    what = "VIA's annotations"
    path = job.only_file()
    content = load_json(path, what, VIA)
    with reading(str(path), what):
        entries = list(content.get("_via_img_metadata", content).values())
        label = "" if job.class_name else class_attribute(path, entries, job.label)
    for entry in entries:
        with reading(f"{path}: image {dict(entry).get('filename')!r}", what):
            shapes = []
            for region in regions_of(entry):
                shape = region["shape_attributes"]
                name = job.class_name or chosen_class(region["region_attributes"].get(label))
                shapes.append((shape["name"], name, via_box(shape)))
            yield LabelledImage(str(entry["filename"]), None, job.boxes_of(shapes))


def chosen_class(value: Any) -> Any:
    """The class of a region: its value, or the only one that is ticked; ValueError without one."""
    if isinstance(value, dict):
        ticked = [name for name, is_on in value.items() if is_on]
        if len(ticked) != 1:
            raise ValueError(f"classes {listed(ticked) or 'none'} are ticked; expected one")
        value = ticked[0]
    return value


def regions_of(entry: dict) -> list[dict]:
    """The regions of an image; version 1 has them by number."""
    regions = entry["regions"]
    return list(regions.values()) if isinstance(regions, dict) else regions


def class_attribute(path: Path, entries: list[dict], chosen: str) -> str:
    """The attribute of the regions that is the class: the one that is chosen, or the only one."""
    names = {
        name for entry in entries for r in regions_of(entry) for name in r["region_attributes"]
    }
    if chosen in names:
        return chosen
    if len(names) != 1 or chosen:
        have = f"have {', '.join(sorted(names))}"
        wrong = f", but no {chosen!r}" if chosen else ""
        way = "name the attribute with the class by --label"
        if not names:
            have, way = (
                "have no attributes",
                "where all are of one class, name it with --class=NAME",
            )
        raise InputError(f"{path}: the regions {have}{wrong}; {way}")
    return names.pop()


def via_box(shape: dict) -> Corners | None:
    """The box around a shape; None for one that has no area."""
    kind = shape["name"]
    if kind == "rect":
        x, y = shape["x"], shape["y"]
        return x, y, x + shape["width"], y + shape["height"]
    if kind in ("polygon", "polyline"):
        return around_points(list(zip(shape["all_points_x"], shape["all_points_y"])))
    if kind in ("circle", "ellipse"):
        rx, ry = (shape["r"],) * 2 if kind == "circle" else (shape["rx"], shape["ry"])
        return around_ellipse((shape["cx"], shape["cy"]), rx, ry, shape.get("theta", 0))
    return None


def voc(job: Job) -> Iterator[LabelledImage]:
    """Pascal VOC's or LabelImg's xml files, one for each image, without lists of splits."""
    what = "Pascal VOC's annotations of an image"
    for path in job.files(".xml"):
        with reading(str(path), what):
            root = parse_annotation(path, Problems(path))
            name = (root.findtext("filename") or "").strip()
            if not name:
                raise ValueError("it has no <filename>")
            boxes = [labelled(box.findtext("name"), parse_box(box)) for box in root.iter("object")]
            yield LabelledImage(name, image_size(root), boxes)


def createml(job: Job) -> Iterator[LabelledImage]:
    """Apple's CreateML json: a list of images."""
    what = "CreateML's annotations"
    path = job.only_file()
    content = load_json(path, what, CREATEML)
    with reading(str(path), what):
        entries = list(content)
    for number, entry in enumerate(entries):
        with reading(f"{path}: entry {number}", what):
            boxes = [
                labelled(item["label"], around_centre(item["coordinates"]))
                for item in entry["annotations"]
            ]
            yield LabelledImage(str(entry["image"]), None, boxes)


def around_centre(sides: dict) -> Corners:
    """The corners of a box by its centre, width and height."""
    x, y, width, height = (float(sides[key]) for key in ("x", "y", "width", "height"))
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
