"""Which format's layout a folder has, for hints where that of the configured one is not there."""

import os
from pathlib import Path

from src.data.problems import WITHOUT_EVALUATION
from src.runtime.near_path import names_in

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")  # of YOLO
ROBOFLOW = "_annotations.coco.json"  # in the folder of a split's images
VOC_FOLDERS = ("Annotations", "JPEGImages")
SHOWN = 5  # names
MAX_FOLDERS = 100  # in a folder, that are looked into


def format_of(folder: Path, *, by_folders: bool = True) -> str:
    """coco, voc or yolo, whose layout the folder has; "" where it is none of these.

    Args:
        by_folders: whether splits of Roboflow's, folders of any name, count.
    """
    if any(os.path.isfile(folder / name) for name in YAML_NAMES):
        return "yolo"
    if all(os.path.isdir(folder / name) for name in VOC_FOLDERS):
        return "voc"
    names = names_in(folder / "annotations")
    has_json = any(name.startswith("instance") and name.endswith(".json") for name in names)
    return "coco" if has_json or (by_folders and roboflow_splits(folder)) else ""


def roboflow_splits(folder: Path) -> list[str]:
    """The splits of Roboflow's in a folder."""
    return [name for name in names_in(folder) if os.path.isfile(folder / name / ROBOFLOW)]


def other_layout(folder: Path, dataset: str) -> str:
    """The flags for a folder that has another layout than that of `dataset`, or lies beside it.

    They are those of the folder itself, of the one around it or of one in it; "" where none fits.
    """
    inner = [folder / name for name in names_in(folder) if os.path.isdir(folder / name)]
    around = [folder.absolute().parent] if os.path.isdir(folder) else []
    for place in (folder, *around, *inner[:MAX_FOLDERS]):
        found = format_of(place, by_folders=place not in around)
        if found and (place, found) != (folder, dataset):
            flag = "" if found == dataset else f"--dataset={found} "
            return f"{place} has {found.upper()}'s layout: set {flag}--{found}_root={place}"
    return ""


def other_splits(splits: list[str], *, training: bool) -> str:
    """What to do where a split is not there, by the names of those that are."""
    key = "train_split" if training else "val_split"
    have = ", ".join(splits[:SHOWN]) + (", ..." if len(splits) > SHOWN else "")
    way = f"there is {have}: name one with --{key}" if splits else f"check --{key}"
    return way if training else f"{way}, {WITHOUT_EVALUATION}"
