"""The configured data set: where its splits are, and their annotations checked."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.config.class_list import BACKGROUND, is_background
from src.config.configuration import Config
from src.data.annotations import Annotations, what_is_lacking, without_empty
from src.data.cache import cache_key, cached, cached_names
from src.data.files.image_files import Search, find_images
from src.data.hold_out import held_out
from src.data.problems import Problems
from src.data.readers.formats import READERS
from src.data.signs.headers import SAMPLE
from src.data.signs.sign import FOLDERS, check_accept
from src.data.signs.stages import cheap_signs
from src.runtime.errors import InputError

CACHE_FOLDER = ".annotations"  # beside output_path, so that runs share it; can be deleted any time


@dataclass(frozen=True)
class Source:
    """Where a split is, and the arguments of `Reader.read`.

    For `training` what only the metric needs is left out.
    """

    format: str  # a key of READERS
    path: Path
    image_dir: Path
    classes: tuple[str, ...]
    drop_unlisted: bool
    training: bool
    options: dict[str, str] = field(default_factory=dict)  # what else the reader's functions get
    val_share: float = 0.0  # of its images, which are evaluated and not trained on
    by_end: bool = False  # whether names of images may have any folders in front

    def read(self) -> tuple[Annotations, Problems]:
        """Its annotations and what is wrong with them; InputError where nothing can be read."""
        annotations, problems = self.read_whole()
        if self.val_share:
            try:
                held = held_out(annotations, self.val_share)
            except InputError:
                if not problems.errors:  # which are why the images are so few
                    raise
                held = np.zeros(len(annotations), bool)
            annotations = annotations.take(np.flatnonzero(~held if self.training else held))
        if self.training:
            annotations = replace(annotations, truth=None)
        return annotations, problems

    def read_whole(self) -> tuple[Annotations, Problems]:
        """`read`, the images that are held out for evaluation included."""
        reader = READERS[self.format]
        options = {"drop_unlisted": self.drop_unlisted, **self.options}
        if reader.finds_images:
            options["search"] = self.search()
        return reader.read(self.path, self.image_dir, self.classes, **options)

    def search(self) -> Search:
        """How its images are looked for."""
        role = "train" if self.training or self.val_share else "val"
        flag = READERS[self.format].image_flag.format(role=role, path=self.path)
        return Search(flag, self.by_end)

    def class_names(self, folder: Path) -> tuple[Sequence[str], str]:
        """Names of its classes without background, and what they are in the file.

        `folder` keeps them where all files of the split have to be read for them.
        """
        reader = READERS[self.format]
        if reader.class_names is not None:
            return reader.class_names(self.path, self.image_dir, **self.options)
        unlisted = replace(self, classes=(BACKGROUND,), drop_unlisted=True, training=True)

        def find() -> list[str]:
            _, problems = unlisted.read_whole()
            return sorted({name for name in problems.unlisted if not is_background(name)})

        return cached_names(folder, unlisted.key(), find), "the classes of its objects"

    def key(self) -> str:
        """A cache key of all that `read` depends on, the source of the reader included."""
        settings = [self.format, str(self.path.absolute()), str(self.image_dir.absolute())]
        settings += [self.classes, self.drop_unlisted, self.training, self.options, self.val_share]
        settings.append(self.by_end)
        reader = READERS[self.format]
        read, looked_at = reader.inputs(self.path, self.image_dir, **self.options)
        return cache_key([*read, Path(inspect.getfile(reader.read))], looked_at, settings)


def find_source(cfg: Config, *, training: bool) -> Source:
    """The split to train on or the one to evaluate on; InputError where it is not there."""
    is_shared = cfg.val_share > 0
    find = READERS[cfg.dataset].find
    path, image_dir, *split = find(cfg, training=training or is_shared)
    return Source(
        format=cfg.dataset,
        path=path,
        image_dir=image_dir,
        classes=cfg.classes,
        drop_unlisted=cfg.unlisted_classes == "drop",
        training=training,
        options={"split": split[0]} if split else {},
        val_share=cfg.val_share,
        by_end=FOLDERS in cfg.accept,
    )


def build_annotations(cfg: Config, *, training: bool) -> Annotations:
    """The annotations of a split; InputError with the first errors, or if nothing is left."""
    check_accept(cfg.accept)
    source = find_source(cfg, training=training)
    problems = Problems(source.path)
    key = source.key()

    def read() -> tuple[Annotations, bool]:
        annotations, found = source.read()
        problems.errors.extend(found.errors)
        # not saved where a file changed while it was read
        is_whole = not found.errors and not found.from_images
        return annotations, is_whole and source.key() == key

    annotations = cached(cache_folder(cfg), key, read)
    lacks = what_is_lacking(annotations, training=training)
    if training and not cfg.keep_empty:
        annotations = without_empty(annotations)
    annotations, _ = find_images(annotations, problems, source.search())
    signs = cheap_signs(cfg, annotations, training=training, headers=SAMPLE)
    problems.judge(signs, cfg.accept)
    problems.raise_errors()
    if lacks:
        raise InputError(f"{source.path}: {lacks}")
    return replace(annotations, signs=tuple(problems.warnings))


def cache_folder(cfg: Config) -> Path:
    """Where parsed annotations are kept."""
    return Path(cfg.output_path).absolute().parent / CACHE_FOLDER
