"""Annotation files of labelling tools, mostly read by globox, one image at a time."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from globox import Annotation, BoundingBox, BoxFormat

from src.runtime.errors import InputError

FIRST_PIXEL = 1  # VOC counts pixels from 1
LABELME_SHAPES = ("rectangle", "polygon", "linestrip")  # whose points are inside a box around them


@dataclass
class Job:
    """What is converted, and what was left out."""

    input: Path
    images: Path  # folder of the images
    label: str = ""  # via: attribute with the class
    left_out: Counter[str] = field(default_factory=Counter)

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


@contextmanager
def reading(where: str, what: str) -> Iterator[None]:
    """Turns what a parser raises on other content into an InputError that says `where` it is."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # globox raises whatever its own lookups do
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{where}: not {what} ({reason[:120]})") from error


def load_json(path: Path, what: str) -> Any:
    """The content of a json file."""
    with reading(str(path), what):
        return json.loads(path.read_text(encoding="utf-8-sig"))


def labelme(job: Job) -> Iterator[Annotation]:
    """LabelMe's files, one for each image; rectangles and outlines."""
    what = "LabelMe's annotations of an image"
    for path in job.files(".json"):
        content = load_json(path, what)
        with reading(str(path), what):
            shapes = content["shapes"]
            kept = [shape for shape in shapes if shape["shape_type"] in LABELME_SHAPES]
            job.left_out.update(s["shape_type"] for s in shapes if s not in kept)
            size = int(content["imageWidth"]), int(content["imageHeight"])
            name = str(content["imagePath"]).replace("\\", "/")
            boxes = [BoundingBox.from_labelme(shape) for shape in kept]
        folder = path.parent.relative_to(job.input) if job.input.is_dir() else Path()
        yield Annotation(str(folder / name), size, boxes)


def cvat(job: Job) -> Iterator[Annotation]:
    """CVAT's file "for images"; boxes, and the boxes around polygons."""
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
            annotation = Annotation.from_cvat(node)
            for shape in node:
                if shape.tag in ("polygon", "polyline"):
                    annotation.add(around(shape.get("label"), shape.get("points")))
                elif shape.tag not in ("box", "tag"):
                    job.left_out[shape.tag] += 1
            yield annotation


def around(label: str | None, points: str | None) -> BoundingBox:
    """The box around points that are written "x,y;x,y"."""
    pairs = [tuple(map(float, pair.split(","))) for pair in (points or "").split(";")]
    return BoundingBox.from_labelme({"label": require(label), "points": pairs})


def require(label: Any) -> str:
    """The name of a class; ValueError where it is none."""
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"class {label!r}; expected a name")
    return label


def via(job: Job) -> Iterator[Annotation]:
    """VGG Image Annotator's json, of a project or exported; rectangles, polygons, circles."""
    what = "VIA's annotations"
    path = job.only_file()
    content = load_json(path, what)
    with reading(str(path), what):
        entries = list(content.get("_via_img_metadata", content).values())
        label = job.label or only_attribute(path, entries)
    for entry in entries:
        with reading(f"{path}: image {dict(entry).get('filename')!r}", what):
            boxes = []
            for region in regions_of(entry):
                shape = region["shape_attributes"]
                if shape["name"] == "rect":
                    boxes.append(BoundingBox.from_via_json(region, label_key=label))
                elif box := via_box(shape):
                    name = require(region["region_attributes"][label])
                    boxes.append(BoundingBox.create(label=name, coords=box))
                else:
                    job.left_out[shape["name"]] += 1
            yield Annotation(str(entry["filename"]), None, boxes)


def regions_of(entry: dict) -> list[dict]:
    """The regions of an image; version 1 has them by number."""
    regions = entry["regions"]
    return list(regions.values()) if isinstance(regions, dict) else regions


def only_attribute(path: Path, entries: list[dict]) -> str:
    """The one attribute that all regions have, which is the class."""
    names = {
        name for entry in entries for r in regions_of(entry) for name in r["region_attributes"]
    }
    if len(names) != 1:
        have = f"have {', '.join(sorted(names))}" if names else "have none"
        raise InputError(
            f"{path}: the regions {have}; name the attribute with the class by --label"
        )
    return names.pop()


def via_box(shape: dict) -> tuple[float, ...] | None:
    """The box around a shape; None for one that has no area."""
    if shape["name"] in ("polygon", "polyline"):
        xs, ys = shape["all_points_x"], shape["all_points_y"]
        return min(xs), min(ys), max(xs), max(ys)
    if shape["name"] in ("circle", "ellipse"):
        rx = shape["r"] if shape["name"] == "circle" else shape["rx"]
        ry = shape["r"] if shape["name"] == "circle" else shape["ry"]
        x, y = shape["cx"], shape["cy"]
        return x - rx, y - ry, x + rx, y + ry
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
    content = load_json(path, what)
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
