"""Reads Pascal VOC's folders: Annotations, JPEGImages, ImageSets."""

import os
from pathlib import Path
from xml.etree import ElementTree

from src.config.configuration import Config
from src.data.annotations import DIFFICULT, Annotations
from src.data.building import MAX_SIDE, Builder
from src.data.images import SUFFIXES, Folder, read_size
from src.data.problems import Problems
from src.data.reader import Files, Reader
from src.data.txt_reader import numbered_lines
from src.runtime.errors import InputError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
FIRST_PIXEL = 1  # VOC counts pixels from 1 and names the last one inside the box


def find_voc(cfg: Config, *, training: bool) -> tuple[Path, Path]:
    """`voc_paths` of the configured split."""
    return voc_paths(cfg.voc_root, cfg.train_split if training else cfg.val_split)


def voc_paths(root: str, split: str) -> tuple[Path, Path]:
    """The split's list of images and the folder of images; InputError if one is missing."""
    folder = Path(root)
    for needed in (folder, folder / "Annotations", folder / "JPEGImages"):
        if not os.path.isdir(needed):
            hint = "voc_root is the folder that holds Annotations, JPEGImages and ImageSets"
            raise InputError(f"{needed}: no such folder; {hint}")
    names = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not os.path.isfile(names):
        hint = f"check voc_root ({root}) and the split's name ({split})"
        raise InputError(f"{names}: no such file; {hint}")
    return names, folder / "JPEGImages"


def read_voc(
    path: Path, image_dir: Path, classes: tuple[str, ...], *, drop_unlisted: bool = False
) -> tuple[Annotations, Problems]:
    """Reads ImageSets/Main/<split>.txt and what it lists, as `Reader.read`.

    An image's id is the number of its line. Difficult objects are neither trained on nor counted,
    as in VOC's metric: they become ignored regions.
    """
    problems = Problems(path)
    builder = Builder(problems, classes, drop_unlisted=drop_unlisted)
    file_of = image_files(Folder(image_dir))
    for number, name in numbered_lines(path):
        with problems.at(f"line {number}"):
            builder.note_line(name, number)
            if name not in file_of:
                raise InputError(f"no image {image_dir / name}.jpg")
            root = parse_xml(annotation_file(image_dir, name))
            size = image_size(root) or read_size(image_dir / file_of[name])
            builder.add_image(file_of[name], number, size)
            add_objects(builder, root, f"{name}.xml")
    return builder.build(image_dir, regions=DIFFICULT), problems


def annotation_file(image_dir: Path, name: str) -> Path:
    """Where the annotation of image `name` is."""
    return image_dir.parent / "Annotations" / f"{name}.xml"


def image_files(folder: Folder) -> dict[str, str]:
    """The image file of each name without suffix; of several the first in SUFFIXES counts."""
    files = sorted(folder.listing(str(folder.path)))
    found: dict[str, str] = {}
    for wanted in SUFFIXES:
        for name, suffix in map(os.path.splitext, files):
            if suffix.lower() == wanted:
                found.setdefault(name, name + suffix)
    return found


def parse_xml(path: Path) -> ElementTree.Element:
    """The file's root element; InputError where it cannot be read."""
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # or its encoding is unknown
        raise InputError(f"{path}: not XML: {error}") from error


def image_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height in pixels from the annotation; None where it has none."""
    try:
        width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if 0 < min(width, height) <= max(width, height) < MAX_SIDE else None


def add_objects(builder: Builder, root: ElementTree.Element, file: str) -> None:
    """Adds the objects of the image that was added last."""
    for position, item in enumerate(root.findall("object"), 1):
        where = f"{file}, object {position}"
        with builder.problems.at(where):
            box, difficult = parse_object(item)
            builder.add_named(where, box, item.findtext("name", "").strip(), difficult)


def parse_object(item: ElementTree.Element) -> tuple[tuple[float, ...], bool]:
    """Box (x1, y1, x2, y2) of an <object>, and whether it is difficult; InputError if malformed."""
    try:
        x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{key}", "")) for key in CORNERS)
        difficult = bool(int(item.findtext("difficult", "0")))
    except ValueError as error:
        needs = f"needs a bndbox of numbers {', '.join(CORNERS)}; difficult is 0 or 1"
        raise InputError(needs) from error
    return (x1 - FIRST_PIXEL, y1 - FIRST_PIXEL, x2, y2), difficult


def inputs(path: Path, image_dir: Path) -> tuple[Files, Files]:
    """List and annotations by content, images by date: their headers may be read for the size."""
    read = [path, *(annotation_file(image_dir, name) for _, name in numbered_lines(path))]
    return read, sorted(image_dir.iterdir())


VOC = Reader("voc_root", find_voc, read_voc, inputs)
