"""Exported files: suffixes, names of inputs and outputs, and descriptions.

An ONNX file holds its description as metadata, one JSON value per key; a MINDIR or AIR file has it
in FILE.yaml. Keys are those of the configuration; NAMES are the classes without background.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from src.config.keys import YAML_ERRORS, load_keys, why_not_yaml, with_new_names
from src.data.files.strange_files import head_of
from src.runtime.errors import InputError
from src.runtime.files import write_atomically
from src.runtime.near_path import no_file
from src.weights.checkpoint_config import is_checkpoint, other_file

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air"}
RUNNABLE = ("MINDIR", "ONNX")  # by this program; AIR needs Ascend's own tools
INPUT = "images"
OUTPUTS = ("boxes", "scores", "labels")
NAMES, CLASSES = "names", "classes"
USE_KEYS = (  # also read from checkpoints
    "image_size", "resize", "short_side", "long_side", "score_threshold", "suppression",
    "nms_iou", "soft_sigma", "class_agnostic", "pre_nms_top_k", "candidates_per_level",
    "max_detections",
)  # fmt: skip
DESCRIPTION_KEYS = ("nms", "export_batch", *USE_KEYS)
# which older files lack, and what these do
NEWER_KEYS = {"candidates_per_level": 0, "short_side": 800, "long_side": 1333}


def check_detector(path: str) -> None:
    """InputError unless the path is a file, a checkpoint or an exported one that can be run."""
    if not os.path.isfile(path):
        raise InputError(no_file(path, SUFFIXES.get(format_of(path), ".ckpt")))
    if not format_of(path) and (head := head_of(Path(path))) and not is_checkpoint(head):
        raise InputError(f"{path}: not a MindSpore checkpoint{other_file(path)}")
    if format_of(path) not in ("", *RUNNABLE):
        raise InputError(f"{path}: {format_of(path)} files need Ascend's own tools")


def chosen_detector(given: Mapping[str, Any]) -> str:
    """The exported file or checkpoint that is named; InputError unless it is just one."""
    model, checkpoint = (str(given.get(key) or "") for key in ("model", "checkpoint_path"))
    if model and checkpoint:
        raise InputError("--checkpoint_path and --model are both given; expected one of them")
    if not (model or checkpoint):
        raise InputError("--checkpoint_path is needed, or --model with an exported detector")
    if model and not format_of(model):
        expected = " or ".join(SUFFIXES[name] for name in RUNNABLE)
        raise InputError(f"{model}: expected {expected}; give a checkpoint as --checkpoint_path")
    if format_of(checkpoint):
        raise InputError(f"{checkpoint}: is an exported detector; give it as --model")
    check_detector(model or checkpoint)
    return model or checkpoint


def format_of(path: str) -> str:
    """MINDIR, ONNX or AIR, by the suffix; "" for any other file."""
    return next((name for name, suffix in SUFFIXES.items() if path.endswith(suffix)), "")


def description_path(path: Path) -> Path:
    """The file of the description beside an exported MINDIR or AIR file."""
    return path.with_name(path.name + ".yaml")


def describe(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a detector exported with this configuration."""
    description = {NAMES: list(cfg[CLASSES][1:])}
    for key in DESCRIPTION_KEYS:
        description[key] = list(cfg[key]) if isinstance(cfg[key], tuple) else cfg[key]
    return description


def write_description(description: Mapping[str, Any], path: Path) -> None:
    """Writes the description beside the exported file at `path`."""
    text = yaml.safe_dump(
        dict(description), sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    write_atomically(description_path(path), text)


def read_description(path: Path) -> dict[str, Any]:
    """The description of an exported file, as keys; InputError where it is missing or damaged."""
    if format_of(str(path)) == "ONNX":
        description, where = read_metadata(path), path
    else:
        description, where = read_yaml(path), description_path(path)
    description = {**NEWER_KEYS, **with_new_names(description, str(where))}
    missing = [key for key in (NAMES, *DESCRIPTION_KEYS) if key not in description]
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}; was it made by export.py?")
    if not isinstance(description[NAMES], list):
        raise InputError(f"{where}: {NAMES} is {description[NAMES]!r}; expected a list")
    names = description.pop(NAMES)
    return {CLASSES: ["background", *names], **description}


def read_metadata(path: Path) -> dict[str, Any]:
    """The decoded metadata of an ONNX file; InputError where the file is something else."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from error
    former = (load_keys()[key].was for key in DESCRIPTION_KEYS)  # in files of older versions
    known = {NAMES, *DESCRIPTION_KEYS, *former}
    found = {entry.key: entry.value for entry in model.metadata_props if entry.key in known}
    try:
        return {key: json.loads(value) for key, value in found.items()}
    except ValueError as error:
        raise InputError(f"{path}: its metadata are not from export.py: {error}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The description of a MINDIR or AIR file; InputError where it cannot be read."""
    source = description_path(path)
    try:
        description = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{source}: cannot be read: {error.strerror}; export.py writes it beside the file, "
            "with the names of the classes"
        ) from error
    except YAML_ERRORS as error:
        raise InputError(f"{source}: {why_not_yaml(error)}") from error
    if not isinstance(description, dict):
        raise InputError(f"{source}: expected lines of 'key: value'")
    return description
