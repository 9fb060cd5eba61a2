"""Where a split in COCO's format is: COCO's folders, Roboflow's, or any file and folder."""

import os
import re
from pathlib import Path

from src.config.configuration import Config
from src.data.readers.coco_file import Head, load_content
from src.data.readers.splits import holdings, needed, other_splits, split_names
from src.runtime.errors import InputError
from src.runtime.files import check_file
from src.runtime.near_path import names_in, nearest, no_folder

ROBOFLOW = "_annotations.coco.json"  # in the folder of a split's images
SPLIT_OF = re.compile(r"instances?_(.+)\.json")  # from the name of its annotation file


def find_coco(cfg: Config, *, training: bool) -> tuple[Path, Path]:
    """Annotation file and image folder of a split; InputError if one is missing."""
    role = "train" if training else "val"
    if cfg[f"{role}_json"]:
        return given_paths(cfg, role)
    if cfg[f"{role}_images"]:
        raise InputError(f"--{role}_images is given without --{role}_json, the annotation file")
    if not training and cfg.train_json:
        load_content(Path(cfg.train_json), Head)  # of another format, it needs no other split
        raise needed("val_json", training=False)
    for split in split_names(cfg, training=training):
        if found := roboflow_paths(cfg.coco_root, split):
            return found
        if any(map(os.path.isfile, annotation_files(cfg.coco_root, split))):
            return coco_paths(cfg.coco_root, split, training=training)
    # says what is missing
    return coco_paths(cfg.coco_root, cfg[f"{role}_split"], training=training)


def given_paths(cfg: Config, role: str) -> tuple[Path, Path]:
    """The file and the folder that the keys name; the images may be beside the file."""
    check_file(cfg, f"{role}_json")
    path = Path(cfg[f"{role}_json"])
    image_dir = Path(cfg[f"{role}_images"] or path.parent)
    if not os.path.isdir(image_dir):
        raise InputError(f"{no_folder(image_dir)}; check --{role}_images")
    return path, image_dir


def layout_hint(root: Path, split: str, *, training: bool) -> str:
    """What to do where a folder has no annotations of a split in COCO's layout."""
    if splits := splits_in(root):
        return other_splits(splits, training=training)
    return (
        f"check coco_root and the split's name ({split}), or give file and images with "
        f"--train_json, --train_images (and val){holdings(root)}"
    )


def splits_in(root: Path) -> list[str]:
    """Names of the splits in COCO's layout, or Roboflow's."""
    names = map(SPLIT_OF.fullmatch, names_in(root / "annotations"))
    roboflow = [name for name in names_in(root) if os.path.isfile(root / name / ROBOFLOW)]
    return [name[1] for name in names if name] or roboflow


def roboflow_paths(root: str, split: str) -> tuple[Path, Path] | None:
    """The file and folder of a split as Roboflow exports it, if they are there."""
    path = Path(root) / split / ROBOFLOW
    return (path, path.parent) if os.path.isfile(path) else None


def annotation_files(root: str, split: str) -> list[Path]:
    """COCO's names of a split's annotation file; some copies have the second."""
    names = (f"instances_{split}.json", f"instance_{split}.json")
    return [Path(root) / "annotations" / name for name in names]


def coco_paths(root: str, split: str, *, training: bool = True) -> tuple[Path, Path]:
    """Annotation file and image folder in COCO's layout; InputError if one is missing."""
    image_dir = Path(root) / split
    if os.path.isfile(root):
        raise InputError(
            f"{root}: is a file; coco_root is COCO's folder; a json file goes to --train_json, "
            "or --val_json"
        )
    if not os.path.isdir(root):  # unlike Path.is_dir, never raises
        raise InputError(f"{root}: no such folder{nearest(root)}; set coco_root to COCO's folder")
    paths = annotation_files(root, split)
    found = next(filter(os.path.isfile, paths), None)
    if found is None:
        hint = layout_hint(Path(root), split, training=training)
        raise InputError(f"{paths[0]}: no such file; {hint}")
    if not os.path.isdir(image_dir):
        role = "train" if training else "val"
        expected = f"expected the images of {split} there; for another folder give --{role}_json"
        expected += f"={found} and --{role}_images"
        raise InputError(f"{no_folder(image_dir)}; {expected}")
    return found, image_dir
