"""What a training script saves beside the weights: names of classes, and its configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASS_KEYS = ("CLASSES", "classes")  # of mmdetection 2 and 3
MAX_LETTERS = 100  # of a class name
MAX_CLASSES = 10_000
STYLE = re.compile(r"""\bstyle["']?\s*[=:]\s*["'](caffe|pytorch)["']""")  # of a ResNet


@dataclass(frozen=True)
class Notes:
    """What a file says of its weights; empty if it says nothing.

    Attributes:
        classes: names, without background.
        style: "caffe" or "pytorch", where mmdetection's ResNets have their strides.
    """

    classes: tuple[str, ...] = ()
    style: str = ""

    def is_caffe(self, path: Path) -> bool:
        """Whether the weights are of mmdetection's caffe variants: by the file's own
        configuration or, without one, by its name."""
        return self.style == "caffe" or (not self.style and "caffe" in path.name.lower())


def notes_of(content: Any) -> Notes:
    """The notes in the content of a file; what is malformed is left out."""
    meta = part_of(content, "meta")
    classes = ()
    for place in (part_of(meta, "dataset_meta"), meta):
        for key in CLASS_KEYS:
            classes = classes or names_in(place.get(key))
    texts = (meta.get(key) for key in ("cfg", "config"))
    found = [STYLE.search(text) for text in texts if isinstance(text, str)]
    return Notes(classes, next((match[1] for match in found if match), ""))


def part_of(content: Any, key: str) -> Mapping[str, Any]:
    """The dict under a key of a dict; empty if there is none."""
    part = content.get(key) if isinstance(content, dict) else None
    return part if isinstance(part, dict) else {}


def names_in(value: Any) -> tuple[str, ...]:
    """The names in a list of distinct ones, else none."""
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_CLASSES:
        return ()
    if not all(type(name) is str and 0 < len(name.strip()) <= MAX_LETTERS for name in value):
        return ()
    return tuple(value) if len(set(value)) == len(value) else ()
