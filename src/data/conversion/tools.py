"""Annotation files of labelling tools, some of them read by globox, one image at a time."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from globox import Annotation, BoundingBox, BoxFormat

from src.data.conversion.job import Job, load_json, reading
from src.data.conversion.recognise import CREATEML, LABELME, VIA
from src.data.conversion.shapes import (
    Corners,
    around_circle,
    around_ellipse,
    around_points,
    around_turned,
)
from src.data.images import SUFFIXES
from src.runtime.errors import InputError
from src.runtime.text import count, listed

FIRST_PIXEL = 1  # VOC counts pixels from 1
# whose points are inside a box around them
LABELME_OUTLINES = ("rectangle", "oriented_rectangle", "polygon", "linestrip")


def labelme(job: Job) -> Iterator[Annotation]:
    """LabelMe's files, one for each image; shapes with an area, by the boxes around them."""
    what = "LabelMe's annotations of an image"
    paths = job.files(".json")
    named: dict[Path, str] = {}
    found = []
    for path in paths:
        content = load_json(path, what, LABELME)
        with reading(str(path), what):
            boxes = []
            for shape in content["shapes"]:
                if corners := labelme_box(shape):
                    boxes.append(BoundingBox.create(label=require(shape["label"]), coords=corners))
                else:
                    job.left_out[shape["shape_type"]] += 1
            size = int(content["imageWidth"]), int(content["imageHeight"])
            name = str(content["imagePath"]).replace("\\", "/")
        named[path] = name
        found.append((path, size, boxes))
    files = labelme_images(job, named)
    for path, size, boxes in found:
        yield Annotation(files[path], size, boxes)


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


def cvat(job: Job) -> Iterator[Annotation]:
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
            boxes = []
            for shape in node:
                if corners := cvat_box(shape):
                    name = require(shape.get("label"))
                    boxes.append(BoundingBox.create(label=name, coords=corners))
                elif shape.tag != "tag":
                    job.left_out[shape.tag] += 1
            size = int(node.attrib["width"]), int(node.attrib["height"])
            yield Annotation(node.attrib["name"], size, boxes)


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


def require(label: Any) -> str:
    """The name of a class; ValueError where it is none."""
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"class {label!r}; expected a name")
    return label


def via(job: Job) -> Iterator[Annotation]:
    """VGG Image Annotator's json, of a project or exported; rectangles, polygons, circles."""
    what = "VIA's annotations"
    path = job.only_file()
    content = load_json(path, what, VIA)
    with reading(str(path), what):
        entries = list(content.get("_via_img_metadata", content).values())
        label = "" if job.class_name else class_attribute(path, entries, job.label)
    for entry in entries:
        with reading(f"{path}: image {dict(entry).get('filename')!r}", what):
            boxes = []
            for region in regions_of(entry):
                shape = region["shape_attributes"]
                if box := via_box(shape):
                    name = job.class_name or chosen_class(region["region_attributes"].get(label))
                    boxes.append(BoundingBox.create(label=name, coords=box))
                else:
                    job.left_out[shape["name"]] += 1
            yield Annotation(str(entry["filename"]), None, boxes)


def chosen_class(value: Any) -> str:
    """The class of a region: a name, or the only one that is ticked; ValueError where none is."""
    if isinstance(value, dict):
        ticked = [name for name, is_on in value.items() if is_on]
        if len(ticked) != 1:
            raise ValueError(f"classes {listed(ticked) or 'none'} are ticked; expected one")
        value = ticked[0]
    return require(value)


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


def voc(job: Job) -> Iterator[Annotation]:
    """Pascal VOC's or LabelImg's xml files, one for each image, without lists of splits."""
    what = "Pascal VOC's annotations of an image"
    for path in job.files(".xml"):
        with reading(str(path), what):
            found = Annotation.from_xml(path)
            boxes = [
                BoundingBox.create(
                    label=require(box.label),
                    coords=(box.xmin - FIRST_PIXEL, box.ymin - FIRST_PIXEL, box.xmax, box.ymax),
                )
                for box in found.boxes
            ]
            yield Annotation(found.image_id, found.image_size, boxes)


def createml(job: Job) -> Iterator[Annotation]:
    """Apple's CreateML json: a list of images."""
    what = "CreateML's annotations"
    path = job.only_file()
    content = load_json(path, what, CREATEML)
    with reading(str(path), what):
        entries = list(content)
    for number, entry in enumerate(entries):
        with reading(f"{path}: entry {number}", what):
            boxes = [
                BoundingBox.create(
                    label=require(item["label"]),
                    coords=tuple(
                        float(item["coordinates"][k]) for k in ("x", "y", "width", "height")
                    ),
                    box_format=BoxFormat.XYWH,
                )
                for item in entry["annotations"]
            ]
            yield Annotation(str(entry["image"]), None, boxes)


Tool = Callable[[Job], Iterator[Annotation]]
