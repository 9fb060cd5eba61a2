"""Reads YOLO's data.yaml: where the images of each split are, and the names of the classes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from src.config.configuration import Config
from src.config.keys import YAML_ERRORS, why_not_yaml
from src.data.images import SUFFIXES
from src.data.readers.splits import holdings, other_splits, split_names
from src.data.readers.text_lines import numbered_lines
from src.runtime.errors import InputError
from src.runtime.near_path import nearest

SPLITS = ("train", "val", "valid", "validation", "test")
SHOWN = 200  # letters of the names in a message
ROBOFLOW = "../"  # in front of paths from data.yaml's own folder
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
KEPT_TAGS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")


class Words(yaml.SafeLoader):
    """Reads words as they are written: a class may be called on, no or 007."""

    yaml_implicit_resolvers = {
        letter: [(tag, form) for tag, form in resolvers if tag in KEPT_TAGS]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True)
class DataSet:
    """What data.yaml says."""

    path: Path  # of data.yaml
    base: Path  # folder that the splits' paths are relative to
    splits: dict[str, tuple[str, ...]]  # folders of images, or text files that list them
    names: dict[int, str]  # of the classes
    point_numbers: int = 0  # of the key points after each box

    def entries(self, split: str) -> list[Path]:
        """The folders and lists of a split; InputError where one is missing."""
        return [self.place(entry) for entry in self.splits[split]]

    def place(self, entry: str) -> Path:
        """Where a folder or a list is."""
        bare = entry.removeprefix(ROBOFLOW)
        tried = [self.base / entry, self.base / bare, self.path.parent / bare]
        found = next(filter(os.path.exists, tried), None)
        if found is None and "*" in entry:
            raise InputError(
                f"{self.path}: {entry!r}: a pattern; expected the folder of the images, "
                f"{entry.split('*')[0].rstrip('/') or '.'}"
            )
        if found is None:
            near = nearest(tried[0], base=self.path.parent)
            raise InputError(f"{self.path}: {entry!r}: no such folder or list{near}")
        return found


def find_yolo(cfg: Config, *, training: bool) -> tuple[Path, Path, str]:
    """data.yaml, the folder of the images, and the split; InputError if one is missing."""
    data = load_yaml(yaml_file(cfg.yolo_root))
    names = split_names(cfg, training=training)
    split = next((name for name in names if name in data.splits), None)
    if split is None:
        way = other_splits(list(data.splits), training=training)
        raise InputError(f"{data.path}: has no {names[min(1, len(names) - 1)]!r}; {way}")
    data.entries(split)
    return data.path, data.base, split


def yaml_file(root: str) -> Path:
    """data.yaml in the folder, or the file itself."""
    if os.path.isfile(root):
        return Path(root)
    if not os.path.isdir(root):
        raise InputError(
            f"{root}: no such folder{nearest(root)}; yolo_root is the folder with data.yaml"
        )
    folder = Path(root)
    others = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    found = [folder / name for name in YAML_NAMES if os.path.isfile(folder / name)] or others
    if not found or (len(others) > 1 and found == others):
        way = "name the file with --yolo_root, or write it: it has train, val and names"
        raise InputError(f"{folder / YAML_NAMES[0]}: no such file; {way}{holdings(folder)}")
    return found[0]


def load_yaml(path: Path) -> DataSet:
    """The data set that a file describes; InputError where it is malformed."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Words)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except YAML_ERRORS as error:
        raise InputError(f"{path}: {why_not_yaml(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected lines of 'key: value', as YOLO's data.yaml has")
    splits = {name: entries_of(path, name, content[name]) for name in SPLITS if content.get(name)}
    base, names = base_of(path, content.get("path")), names_of(path, content)
    return DataSet(path, base, splits, names, point_numbers(path, content.get("kpt_shape")))


def entries_of(path: Path, name: str, value: Any) -> tuple[str, ...]:
    """The paths of a split as a tuple."""
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry and "\0" not in entry for entry in entries):
        raise InputError(f"{path}: {name} is {value!r}; expected a path, or a list of paths")
    return tuple(entries)


def base_of(path: Path, value: Any) -> Path:
    """The folder that paths are relative to: `path` if it is there, else data.yaml's own."""
    own = path.parent
    if not isinstance(value, str) or "\0" in value:
        return own
    tried = (own / value, Path(value))
    return next((folder for folder in tried if os.path.isdir(folder)), own)


def point_numbers(path: Path, shape: Any) -> int:
    """How many numbers follow a box, by kpt_shape: key points, and numbers of each; 0 without."""
    if shape is None:
        return 0
    try:
        points, numbers = map(int, shape)
        if points < 1 or numbers not in (2, 3):
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: kpt_shape is {shape!r}; expected [number of key points, 2 or 3]"
        ) from None
    return points * numbers


def names_of(path: Path, content: dict) -> dict[int, str]:
    """The names of the classes by number, of a list or a dictionary."""
    value = content.get("names")
    pairs = dict(enumerate(value)) if isinstance(value, list) else value
    try:
        names = {int(index): str(name).strip() for index, name in pairs.items()}
        if not names or not all(names.values()):
            raise ValueError
        if not all(isinstance(name, str) for name in pairs.values()):  # an empty one is None
            raise ValueError
    except (AttributeError, TypeError, ValueError):
        found = "missing" if value is None else f"{value!r}"[:60]
        raise InputError(
            f"{path}: names is {found}; expected a list of class names, or 0: NAME and so on"
        ) from None
    number = content.get("nc")
    if isinstance(number, str) and number.isdecimal() and int(number) != len(names):
        listed = f"names has {len(names)}: {', '.join(names.values())}"[:SHOWN]
        raise InputError(f"{path}: nc is {number}, but {listed}; correct the wrong one")
    return names


def split_files(data: DataSet, image_dir: Path, split: str) -> Iterator[tuple[str, str]]:
    """Where each image is named, and its path from `image_dir`; InputError without any."""
    is_empty = True
    for entry in data.entries(split):
        if os.path.isdir(entry):
            names = [os.path.relpath(path, image_dir) for path in images_below(entry)]
            found = zip(names, names)
        else:
            lines = numbered_lines(entry)
            found = ((f"{entry.name}, line {n}", listed(t, entry, image_dir)) for n, t in lines)
        for item in found:
            is_empty = False
            yield item
    if is_empty:
        raise InputError(
            f"{data.path}: {split}: {data.splits[split][0]!r} has no images; expected their "
            "folder, or a text file that lists them"
        )


def images_below(folder: Path) -> list[str]:
    """The images in a folder and those below it, hidden ones left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(parent, name)
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def listed(text: str, source: Path, image_dir: Path) -> str:
    """An image of a list, relative to `image_dir`; its path may be relative to the list too."""
    if os.path.isfile(image_dir / text):
        return os.path.relpath(image_dir / text, image_dir)
    if os.path.isfile(source.parent / text):
        return os.path.relpath(source.parent / text, image_dir)
    return text
