"""Names of splits, and what is said where a split or its folder is not there."""

from pathlib import Path

from src.config.configuration import Config
from src.config.keys import load_keys
from src.data.images import SUFFIXES
from src.data.problems import WITHOUT_EVALUATION
from src.runtime.errors import InputError
from src.runtime.near_path import names_in
from src.runtime.text import listed

SHOWN = 5  # names of a folder
# in place of COCO's names, which are the defaults
USUAL = {"train_split": ("train",), "val_split": ("val", "valid", "validation")}


def split_names(cfg: Config, *, training: bool) -> tuple[str, ...]:
    """The name of the split; where none was given, others that it often has, too."""
    key = "train_split" if training else "val_split"
    is_given = cfg[key] != load_keys()[key].default
    return (cfg[key],) if is_given else (cfg[key], *USUAL[key])


def needed(key: str, *, training: bool) -> InputError:
    """The error that a key has no value that says where a split is."""
    return InputError(f"--{key} is needed" + ("" if training else f", {WITHOUT_EVALUATION}"))


def other_splits(splits: list[str], *, training: bool) -> str:
    """What to do where a split is not there, by the names of those that are."""
    key = "train_split" if training else "val_split"
    way = f"there is {listed(splits, SHOWN)}: name one with --{key}" if splits else f"check --{key}"
    return way if training else f"{way}, {WITHOUT_EVALUATION}"


def holdings(folder: Path) -> str:
    """What a folder holds, from which a user sees whose layout it has; "" where that is nothing."""
    # what tells a layout is rarely an image, of which there may be thousands
    names = sorted(names_in(folder), key=lambda name: name.lower().endswith(SUFFIXES))
    return f"; {folder} has {listed(names, SHOWN)}" if names else ""
