"""Classes from the data, where the configuration names none."""

from collections.abc import Callable
from dataclasses import replace

from src.config.class_list import BACKGROUND
from src.config.configuration import Config
from src.data.dataset import Source, cache_folder, find_source
from src.runtime.errors import InputError
from src.runtime.text import count, listed, printable

SHOWN_NAMES = 20


def with_classes(cfg: Config, note: Callable[[str], None] = print) -> Config:
    """The configuration with the classes of its training annotations, if it names none.

    The evaluation split's where there is no training split, as where a detector is only evaluated.
    `note` gets a line on where they are from. InputError where none are found.
    """
    if cfg.classes:
        return cfg
    source = names_source(cfg)
    names, origin = source.class_names(cache_folder(cfg))
    if not names:
        _, problems = replace(source, classes=(BACKGROUND,)).read_whole()
        problems.raise_errors()  # which may be why no name was found
        raise InputError(f"{source.path}: names no class ({origin}); name them with --classes")
    shown = [printable(name) for name in names]
    known = f"{count(len(names), 'class', 'classes')}: {listed(shown, SHOWN_NAMES)}"
    note(f"{source.path}: {origin}: {known}")
    try:
        return cfg.replace(str(source.path), classes=[BACKGROUND, *names])
    except InputError as error:
        where = "" if str(source.path) in str(error) else f"{source.path}: "
        raise InputError(f"{where}{error}") from None


def names_source(cfg: Config) -> Source:
    """The training split, or the evaluation split where the former is not there."""
    try:
        return find_source(cfg, training=True)
    except InputError as missing:
        try:
            return find_source(cfg, training=False)
        except InputError:
            raise missing from None
