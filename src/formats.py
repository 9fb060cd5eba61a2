"""Exported files: their suffixes, and what is written beside them."""

import os
from pathlib import Path

import yaml

from src.errors import InputError
from src.files import write_atomically

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx"}
# what has to be known beside the file, which takes fitted images and leaves overlapping boxes
DESCRIPTION_KEYS = (
    "classes", "image_size", "resize", "score_threshold", "nms", "nms_iou", "soft_sigma",
    "class_agnostic", "candidates", "max_detections",
)  # fmt: skip
BATCH = "batch"  # images that the file takes at once, no more and no fewer


def check_detector(path: str) -> None:
    """InputError unless the path is a file, and of an exported detector its description is there.

    Args:
        path: of a checkpoint or an exported file.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    if format_of(path):
        read_description(Path(path))


def format_of(path: str) -> str:
    """MINDIR or ONNX, by the suffix; "" for any other file."""
    return next((name for name, suffix in SUFFIXES.items() if path.endswith(suffix)), "")


def description_path(path: Path) -> Path:
    """The file beside an exported one that says what it does not: classes, and what comes after."""
    return path.with_name(path.name + ".yaml")


def write_description(cfg, path: Path, batch_size: int) -> None:
    """Writes what a program has to know to use the exported file at `path`."""
    known = yaml.safe_load(cfg.to_yaml())
    described = {name: known[name] for name in DESCRIPTION_KEYS}
    described[BATCH] = batch_size
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_atomically(description_path(path), text)


def read_description(path: Path) -> dict:
    """What `write_description` wrote beside an exported file: keys of the configuration and BATCH.

    Raises:
        InputError: it is not there or damaged.
    """
    beside = description_path(path)
    try:
        described = yaml.safe_load(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{beside}: cannot be read: {error.strerror}; export.py writes it beside the file, it "
            "holds the names of the classes"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{beside}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(described, dict):
        raise InputError(f"{beside}: expected lines of 'key: value'")
    if type(described.get(BATCH)) is not int or described[BATCH] < 1:
        raise InputError(f"{beside}: {BATCH} is {described.get(BATCH)!r}; expected int >= 1")
    return described
