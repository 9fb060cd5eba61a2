"""Converts annotations of labelling tools to COCO's format.

Run as `python3 -m src.data.convert --from=TOOL INPUT OUTPUT.json`, where TOOL is labelme, cvat,
via, voc (xml files alone), createml, openimages or csv, and INPUT its file, or the folder of its
files. Sizes that the annotations lack are read from the images, in --images.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

from src.data.conversion.job import Job
from src.data.conversion.shapes import Corners, LabelledImage
from src.data.conversion.tables import openimages, table
from src.data.conversion.tools import createml, cvat, labelme, via, voc
from src.data.signs.classes import alike_classes
from src.distributed.command import run_command
from src.runtime.errors import InputError
from src.runtime.files import make_output_folder, to_json, user_path, write_atomically
from src.runtime.near_path import nearest
from src.runtime.text import count

TOOLS = {
    "labelme": labelme,
    "cvat": cvat,
    "via": via,
    "voc": voc,
    "createml": createml,
    "openimages": openimages,
    "csv": table,
}
READ_DIRECTLY = {
    "coco": "train.py --train_json=FILE --train_images=FOLDER",
    "yolo": "train.py --dataset=yolo --yolo_root=FOLDER",
}


def main(argv=None) -> None:
    args = parse(argv)
    if not args.input.exists():
        raise InputError(f"{args.input}: no such file or folder{nearest(args.input)}")
    images = args.images or (args.input if args.input.is_dir() else args.input.parent)
    if not images.is_dir():
        raise InputError(f"{images}: no such folder{nearest(images)}; check --images")
    if args.output.is_dir():
        raise InputError(f"{args.output}: is a folder; expected the json file to write")
    if args.output.exists() and args.output.samefile(args.input):
        raise InputError(f"{args.output}: is the input; write to another file")
    job = Job(args.input, images, args.label, args.class_name, is_given=args.images is not None)
    content = to_coco(job, TOOLS[args.tool](job))
    if not args.output.parent.is_dir():
        job.notes.append(f"made the folder {args.output.parent}")
    make_output_folder(str(args.output.parent), "output")
    write_atomically(args.output, to_json(content) + "\n")
    print(report(args.output, content, "FOLDER" if job.are_missing else job.images))
    names = tuple(category["name"] for category in content["categories"])
    if sign := alike_classes(names):
        job.notes.append(f"{sign.found}; {sign.advice}")
    if job.left_out:
        kinds = ", ".join(f"{number:,} x {kind}" for kind, number in sorted(job.left_out.items()))
        print(f"left out, as they are no boxes: {kinds}")
    for note in dict.fromkeys(job.notes):
        print(f"note: {note}")


def tool(name: str) -> str:
    """The value of --from; says of formats that need no conversion how they are read."""
    if name in READ_DIRECTLY:
        raise argparse.ArgumentTypeError(f"{name} is read as it is: {READ_DIRECTLY[name]}")
    return name


def parse(argv) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m src.data.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def refuse(message: str) -> None:
        raise InputError(f"command line: {message}; --help shows what is expected")

    parser.error = refuse
    parser.add_argument(
        "--from", dest="tool", type=tool, choices=TOOLS, required=True, help="kind of INPUT"
    )
    parser.add_argument(
        "--images", type=user_path, help="folder of the images; default: beside INPUT"
    )
    parser.add_argument("--label", default="", help="via: attribute that holds the class")
    parser.add_argument(
        "--class",
        dest="class_name",
        default="",
        help="csv, via: class of all boxes, where the annotations have none",
    )
    parser.add_argument("input", type=Path, metavar="INPUT")
    parser.add_argument("output", type=Path, metavar="OUTPUT.json")
    return parser.parse_args(argv)


def to_coco(job: Job, images: Iterable[LabelledImage]) -> dict:
    """COCO's content; classes and ids in the order of the names."""
    found, source = {}, job.input
    for image in images:
        name = image.name
        if not name or "\0" in name:
            raise InputError(f"{source}: file name {name!r}; expected that of an image")
        if name in found:
            raise InputError(f"{source}: image {name!r} is there twice")
        found[name] = image
    if not found:
        raise InputError(f"{source}: no images in it")
    job.find_images(sorted(found))
    own_names = job.own_names(sorted(found))
    labels = sorted({label for image in found.values() for label, _ in image.boxes})
    ids = {label: number for number, label in enumerate(labels, 1)}
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": label} for label, number in ids.items()],
    }
    for number, (name, image) in enumerate(sorted(found.items()), 1):
        width, height = image.size or job.size_of(name)
        entry = {"id": number, "file_name": own_names[name], "width": width, "height": height}
        content["images"].append(entry)
        for label, corners in image.boxes:
            entry = {"id": len(content["annotations"]) + 1, "image_id": number}
            entry |= {"category_id": ids[label], **coco_box(corners, f"{source}: {name}")}
            content["annotations"].append(entry)
    return content


def coco_box(corners: Corners, where: str) -> dict:
    """A box as COCO's x, y, width, height."""
    x1, y1, x2, y2 = map(float, corners)
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise InputError(f"{where}: box {[x1, y1, x2, y2]} is not finite")
    width, height = x2 - x1, y2 - y1
    return {"bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0}


def report(path: Path, content: dict, images: Path | str) -> str:
    """What was written, and how to use it."""
    filled = {entry["image_id"] for entry in content["annotations"]}
    empty = len(content["images"]) - len(filled)
    names = ", ".join(category["name"] for category in content["categories"])
    return (
        f"{path}: {count(len(content['images']), 'image')} ({empty:,} without objects), "
        f"{count(len(content['annotations']), 'box', 'boxes')}, "
        f"{count(len(content['categories']), 'class', 'classes')}: {names}\n"
        f"train with --train_json={path} --train_images={images}; --val_share=0.1 holds out a tenth"
    )


if __name__ == "__main__":
    run_command(main)
