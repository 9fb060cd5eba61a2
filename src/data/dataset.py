"""The configured data set: where its splits are, and their annotations checked."""

import os
from dataclasses import dataclass
from pathlib import Path

from src.config.configuration import Config
from src.data.annotations import (
    Annotations,
    check_files,
    check_has_objects,
    without_empty,
)
from src.data.cache import cache_key, cached
from src.data.coco_reader import coco_paths, read_coco
from src.data.problems import Problems
from src.data.txt_reader import image_names, read_txt
from src.data.voc_reader import annotation_file, listed, read_voc, voc_paths
from src.runtime.errors import InputError
from src.runtime.files import check_file

CACHE_FOLDER = ".annotations"  # beside output_path, so that runs share it; can be deleted any time


@dataclass(frozen=True)
class Source:
    """Where a split is, and how to read it.

    Attributes:
        format: "coco", "other" or "voc".
        path: the annotation file (of VOC: the split's list).
        image_dir: folder of the images.
        classes: names, 'background' first.
        drop_unlisted: leave out boxes of other classes, rather than call them errors.
    """

    format: str
    path: Path
    image_dir: Path
    classes: tuple[str, ...]
    drop_unlisted: bool = False

    def read(self) -> tuple[Annotations, Problems]:
        """Its annotations and what is wrong with them; InputError where nothing can be read."""
        if self.format == "other":
            return read_txt(self.path, self.image_dir, self.classes)
        read = read_coco if self.format == "coco" else read_voc
        return read(self.path, self.image_dir, self.classes, drop_unlisted=self.drop_unlisted)

    def key(self) -> str:
        """A cache key of all that `read` depends on."""
        settings = [self.format, str(self.path.absolute()), str(self.image_dir.absolute())]
        settings += [self.classes, self.drop_unlisted]
        read, looked_at = [self.path], []
        if self.format == "other":  # sizes are read from the images' headers
            looked_at = [self.image_dir / name for name in image_names(self.path)]
        if self.format == "voc":  # and here they may be
            read += [annotation_file(self.image_dir, name) for _, name in listed(self.path)]
            looked_at = sorted(self.image_dir.iterdir())
        return cache_key(read, looked_at, settings)


def find_source(cfg: Config, *, training: bool) -> Source:
    """The split to train on or the one to evaluate on; InputError where it is not there."""
    split = cfg.train_split if training else cfg.val_split
    if cfg.dataset == "coco":
        paths = coco_paths(cfg.coco_root, split)
    elif cfg.dataset == "voc":
        paths = voc_paths(cfg.voc_root, split)
    else:
        key = "anno_path" if training else "val_anno_path"
        if not cfg[key]:
            without = "" if training else ", or train with --eval_interval=0"
            raise InputError(f"--{key} is needed{without}")
        check_file(cfg, key)
        if not os.path.isdir(cfg.image_dir):
            raise InputError(f"{cfg.image_dir or 'image_dir'}: no such folder; check --image_dir")
        paths = Path(cfg[key]), Path(cfg.image_dir)
    return Source(cfg.dataset, *paths, cfg.classes, cfg.unlisted_classes == "drop")


def build_annotations(cfg: Config, *, training: bool) -> Annotations:
    """The annotations of a split, checked: what every run does first.

    Raises:
        InputError: names the first errors, or says that nothing is left.
    """
    source = find_source(cfg, training=training)
    problems = Problems(source.path)

    key = source.key()

    def read() -> tuple[Annotations, bool]:
        annotations, found = source.read()
        problems.errors.extend(found.errors)
        # not kept where a file changed while it was read
        return annotations, not found.errors and source.key() == key

    folder = Path(cfg.output_path).absolute().parent / CACHE_FOLDER
    annotations = cached(folder, key, read)
    check_files(annotations, problems)
    problems.raise_errors()
    if len(annotations) == 0:
        raise InputError(f"{source.path}: no images in it; nothing to work on")
    if training:
        check_has_objects(annotations)
        if not cfg.keep_empty:
            annotations = without_empty(annotations)
    return annotations
