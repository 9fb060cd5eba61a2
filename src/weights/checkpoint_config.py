"""Reads the configuration in a checkpoint without MindSpore, which takes seconds to import.

A checkpoint is a protobuf message of entries (field 1), each a name (field 1) and a tensor (field
2), whose content (field 3) is UTF-32 for text.
"""

import functools
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from src.config.keys import with_new_names
from src.config.open_keys import FOREIGN_SUFFIXES
from src.data.files.strange_files import head_of, plain_text

CONFIG = "run.config"  # entry with the configuration, as YAML
STATE = "run.state"  # entry with the state of the run, as JSON
NAME, TENSOR, CONTENT, BYTES = 1, 2, 3, 2  # numbers of fields, and their type
ENTRY = 1 << 3 | BYTES
HEAD_BYTES = 512  # of an entry, in which its name is
BEGINNING = 40  # letters of a text file that are shown
# keys that change the meaning of weights, but not their names and shapes
SILENT_KEYS = (
    "classes", "padding", "image_mean", "image_std", "anchors", "anchor_size", "scales_per_octave",
    "aspect_ratios", "ssd_min_scale", "ssd_max_scale", "ssd_aspect_ratios", "anchor_offset",
    "anchor_pixels", "fpn_relu", "fpn_padding", "head_activation", "resize",
)  # fmt: skip
NETWORK_KEYS = (  # that decide names and shapes
    "backbone", "fpn_channels", "fpn_norm", "p6_from", "head_depth", "head_norm", "level_scale",
    "centerness", "box_coding", "distribution_bins",
)  # fmt: skip


def recorded_config(path: str) -> dict[str, Any]:
    """The configuration that a checkpoint records, with current names of keys.

    Empty if there is none or the file is not a checkpoint, which loading it reports. An unchanged
    file is read only once.
    """
    try:
        state = os.stat(path)
        values = parsed_config(str(path), state.st_size, state.st_mtime_ns)
    except (OSError, ValueError, IndexError, KeyError, yaml.YAMLError):
        return {}
    return with_new_names(values, path) if isinstance(values, Mapping) else {}


@functools.lru_cache(maxsize=4)  # a process asks for one or two files
def parsed_config(path: str, size: int, changed: int) -> Any:
    """The content of CONFIG in the file; its size and time of change are keys of the cache."""
    with Path(path).open("rb") as file:
        return yaml.safe_load(find_text(file, CONFIG))


def recorded_position(path: str) -> tuple[int, int]:
    """Epoch and update after which a checkpoint was written; (0, 0) if it records none."""
    try:
        with Path(path).open("rb") as file:
            state = json.loads(find_text(file, STATE))
        return int(state["epoch"]), int(state["step"])
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return 0, 0


def is_checkpoint(head: bytes) -> bool:
    """Whether a file with this beginning looks like a checkpoint."""
    try:
        return head[0] == ENTRY and head[varint(head, 1)[1]] == NAME << 3 | BYTES
    except IndexError:
        return False


def other_file(path: str) -> str:
    """A hint on a file that is not a checkpoint: what it is, or how to convert it; else ""."""
    if str(path).endswith(FOREIGN_SUFFIXES):
        return (
            f"; python3 -m src.weights {shlex.quote(str(path))} ckpt/NAME.ckpt converts files "
            "of torchvision, mmdetection and timm"
        )
    text = plain_text(head_of(Path(path)))
    start = " ".join(text[:BEGINNING].split())
    return f"; it is text that begins {start!r}" if text else ""


def find_text(file: BinaryIO, entry: str) -> str:
    """The text of an entry such as CONFIG; empty if missing. Other files may raise anything."""
    for name, at, size in entries(file):
        if name == entry:
            file.seek(at)
            tensor = fields(file.read(size))[TENSOR]
            return fields(tensor)[CONTENT].decode("utf-32-le")
    return ""


def entries(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of each entry, without its content. Other files may raise anything."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(HEAD_BYTES)
        if head[:1] != bytes([ENTRY]):
            return
        size, start = varint(head, 1)
        length, first = varint(head, start + 1)
        yield head[first : first + length].decode(), at + start, size
        at += start + size


def fields(message: bytes) -> dict[int, bytes]:
    """The last value of each field of bytes in a protobuf message, by number."""
    found, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        size, at = varint(message, at)  # or a number, as a dimension is
        if key & 7 == BYTES:
            found[key >> 3] = message[at : at + size]
            at += size
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a place of a message, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
