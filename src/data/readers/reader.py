"""What a data format consists of; `src.data.readers.formats.READERS` lists the formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.data.annotations import Annotations
from src.data.problems import Problems

Files = list[Path]


def only_annotations(path: Path, image_dir: Path) -> tuple[Files, Files]:
    """The inputs of a reader that opens nothing but the annotation file."""
    return [path], []


@dataclass(frozen=True)
class Reader:
    """How the splits of a format are found and read."""

    key: str  # of the configuration, that says where the data are
    # (configuration, training=) -> annotation file (of VOC: the split's list) and image folder of
    # the split to train on, or of the one to evaluate on; InputError names what is missing. Where
    # one annotation file has several splits, the name of the split too, which the others below
    # then get as `split`
    find: Callable[..., tuple]
    # (annotation file, image folder, classes, drop_unlisted=) -> what is usable, and what is wrong
    # with the rest; InputError where nothing can be read. Of the classes 'background' is first;
    # boxes of others are errors, or with `drop_unlisted` left out
    read: Callable[..., tuple[Annotations, Problems]]
    # (annotation file, image folder) -> what `read` depends on, for the cache: files by their
    # content, and files by size and time of change
    inputs: Callable[[Path, Path], tuple[Files, Files]] = only_annotations
    # (annotation file, image folder) -> names of the classes where the configuration has none,
    # without background, and what they are in the file; None: the names that `read` finds, sorted
    class_names: Callable[[Path, Path], tuple[Sequence[str], str]] | None = None
    # what precedes "=FOLDER" on a command line that names another image folder, with {role}, train
    # or val, and {path} of the annotation file in it; "" where no key names one
    image_flag: str = ""
    # whether `read` looks for images itself, and gets search=, a `Search`, for it
    finds_images: bool = False
