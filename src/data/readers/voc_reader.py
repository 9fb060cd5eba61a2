"""Reads Pascal VOC's folders: Annotations, JPEGImages, ImageSets."""

import os
from pathlib import Path

from src.config.configuration import Config
from src.data.annotations import DIFFICULT, Annotations
from src.data.files.folder import Folder, stem
from src.data.files.image_files import SEARCH, ImageFinder, Search
from src.data.images import SUFFIXES, read_size
from src.data.problems import Problems
from src.data.readers.building import Builder
from src.data.readers.reader import Files, Reader
from src.data.readers.splits import holdings, other_splits, split_names
from src.data.readers.text_lines import numbered_lines
from src.data.readers.voc_xml import FIRST_PIXEL, add_objects, image_size, parse_annotation
from src.data.signs.given_boxes import Form
from src.runtime.errors import InputError
from src.runtime.near_path import names_in, nearest

FORM = Form(first_pixel=FIRST_PIXEL)
VOC_FOLDERS = ("Annotations", "JPEGImages")
PRESENCE = ("1", "-1", "0")  # of a class in an image: there, not there, difficult


def find_voc(cfg: Config, *, training: bool) -> tuple[Path, Path]:
    """`voc_paths` of the configured split."""
    names = split_names(cfg, training=training)
    known = (name for name in names if os.path.isfile(split_file(cfg.voc_root, name)))
    return voc_paths(cfg.voc_root, next(known, names[0]), training=training)


def split_file(root: str, split: str) -> Path:
    """The list of the images of a split."""
    return Path(root) / "ImageSets" / "Main" / f"{split}.txt"


def voc_paths(root: str, split: str, *, training: bool = True) -> tuple[Path, Path]:
    """The split's list of images and the folder of images; InputError if one is missing."""
    folder = Path(root)
    for needed in (folder, *(folder / name for name in VOC_FOLDERS)):
        if not os.path.isdir(needed):
            hint = "voc_root is the folder that holds Annotations, JPEGImages and ImageSets"
            near = nearest(needed) or holdings(folder)
            raise InputError(f"{needed}: no such folder; {hint}{near}")
    names = split_file(root, split)
    if not os.path.isfile(names):
        if not os.path.isdir(names.parent):
            xml = folder / "Annotations"
            raise InputError(
                f"{names}: no such file; write it, with the names of its images without suffix, a "
                f"line each, or convert all: 'python3 -m src.data.convert --from=voc {xml} "
                "OUTPUT.json'"
            )
        splits = [Path(name).stem for name in names_in(names.parent) if "_" not in name]
        hint = other_splits(splits, training=training)
        raise InputError(f"{names}: no such file; {hint}")
    return names, folder / "JPEGImages"


def read_voc(
    path: Path,
    image_dir: Path,
    classes: tuple[str, ...],
    *,
    drop_unlisted: bool = False,
    search: Search = SEARCH,
) -> tuple[Annotations, Problems]:
    """Reads ImageSets/Main/<split>.txt and what it lists, as `Reader.read`.

    An image's id is the number of its line. Difficult objects are neither trained on nor counted,
    as in VOC's metric: they become ignored regions.
    """
    problems = Problems(path)
    builder = Builder(problems, classes, drop_unlisted=drop_unlisted, form=FORM)
    files = search.finder(image_dir, problems)
    images = files.folder
    annotations = ImageFinder(Folder(annotation_dir(image_dir)), problems, noun="annotation")
    names, repair = listed_names(path, images)
    if repair:
        problems.repair("list", repair)
    for number, name in names:
        line = f"line {number} of {path.name}"
        with problems.at(line, number):
            builder.note_line(name, number)
            wanted = image_file(images, name)
            file = files.find(line, wanted, number)
            if os.path.splitext(name)[1].lower() in SUFFIXES and not wanted.startswith(f"{name}."):
                problems.repair(f"{line} ({name!r})", "suffix in the list left out")
            xml = annotations.find(line, annotation_name(file), number) if file else None
            if xml:
                root = parse_annotation(annotations.folder.path / xml, problems)
                builder.add_image(file, number, image_size(root) or read_size(image_dir / file))
                add_objects(builder, root, xml)
    files.report()
    annotations.report()
    return builder.build(image_dir, regions=DIFFICULT), problems


def listed_names(path: Path, images: Folder) -> tuple[list[tuple[int, str]], str]:
    """Number and name of the list's lines, and what was left out of them.

    VOC's lists of one class have a column that says whether an image has it. The annotations say
    so too, hence all images of such a list are read alike.
    """
    lines = numbered_lines(path)
    rows = [text.rsplit(maxsplit=1) for _, text in lines]
    seconds = [row[1] if len(row) == 2 else "" for row in rows]
    if any(with_image_suffix(images, text) for _, text in lines):
        return lines, ""
    if all(second in PRESENCE for second in seconds):
        what = "1, -1 or 0 for one class, as in VOC's own lists of a class"
    elif all(second.endswith(".xml") for second in seconds):
        what = "the annotations' names"
    else:
        return lines, ""
    names = [(number, row[0]) for (number, _), row in zip(lines, rows)]
    return names, f"second column left out: {what}" if names else ""


def with_image_suffix(images: Folder, name: str) -> str | None:
    """The file of a name without suffix; of several the first in SUFFIXES counts."""
    return images.with_suffix(name, SUFFIXES)


def image_file(images: Folder, name: str) -> str:
    """The file that a name in the list stands for, or how it would be called."""
    base, suffix = os.path.splitext(name)
    base = base if suffix.lower() in SUFFIXES else name
    for exact in (name, base):
        if found := with_image_suffix(images, exact):
            return found
    alike = images.by_stem.get(stem(f"{base}.jpg"))
    return base + (os.path.splitext(alike[0])[1] if alike else ".jpg")


def annotation_dir(image_dir: Path) -> Path:
    """The folder of annotations beside that of the images."""
    return image_dir.parent / "Annotations"


def annotation_name(file: str) -> str:
    """The annotation of an image, relative to the folder of annotations."""
    return f"{os.path.splitext(file)[0]}.xml"


def inputs(path: Path, image_dir: Path) -> tuple[Files, Files]:
    """List and annotations by content, images by date: their headers may be read for the size."""
    images, annotations = Folder(image_dir, by_end=True), Folder(annotation_dir(image_dir))
    read = [path]
    for _, name in listed_names(path, images)[0]:
        wanted = image_file(images, name)
        xml = annotation_name(images.resolve(wanted)[0] or wanted)
        read.append(annotations.path / (annotations.resolve(xml)[0] or xml))
    return read, [image_dir / file for file in images.files]


VOC = Reader("voc_root", find_voc, read_voc, inputs, finds_images=True)
