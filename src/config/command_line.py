"""The command line: every key is a flag, `--key=value` or `--key value`."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.config.configuration import Config, Layer, checked_values, make_config, read_recipe
from src.config.keys import load_keys, note_new_names, unknown_hint
from src.runtime.errors import InputError
from src.runtime.files import user_path

WHERE = "command line"  # as errors call it
SHOWN_DEFAULT = 60  # characters in --help


def parse_args(
    description: str,
    argv: Sequence[str] | None = None,
    *,
    beneath: Callable[[Mapping[str, Any]], Layer] | None = None,
    over_recipe: Sequence[str] = (),
    prog: str | None = None,
    quiet: bool = False,
) -> Config:
    """The configuration from the command line (sys.argv where none is given).

    A flag overrides the recipe file that `--config_path` names, the recipe overrides the default.
    `beneath`, given what both set, returns a layer that overrides only the defaults, and with the
    keys `over_recipe` the recipe too. `prog` is the command in the usage, else the script's name;
    `quiet` leaves out notes on former names of keys.
    """
    arguments, rest = flag_parser(description, prog).parse_known_args(argv)
    if rest:
        name = rest[0].lstrip("-").partition("=")[0]
        raise InputError(f"{WHERE}: unknown argument {rest[0]!r}{unknown_hint(name)}")
    flags = vars(arguments)
    path = flags.pop("config_path")
    path = path and os.path.expanduser(path)
    recipe = {} if path is None else read_recipe(path)
    if not quiet:
        note_new_names(flags, dashes="--")
        note_new_names(recipe, f"{path}: ")
    recipe, flags = checked_values(recipe, path), checked_values(flags, WHERE)
    lowest = beneath({**recipe, **flags}) if beneath else ({}, "")
    known = [key for key in over_recipe if key in lowest[0]]
    recipe = {key: value for key, value in recipe.items() if key not in known}
    return make_config([lowest, (recipe, path), (flags, WHERE)])


def flag_parser(description: str, prog: str | None) -> argparse.ArgumentParser:
    """A parser of --config_path and of all keys; old names of keys work, but are hidden."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s [--config_path=FILE] [--KEY=VALUE ...]",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.error = raise_input_error
    parser.add_argument(
        "--config_path", metavar="FILE", help="recipe file (YAML) that overrides the defaults"
    )
    for key in load_keys().values():
        default = repr(key.default)
        if len(default) > SHOWN_DEFAULT:
            default = f"{default[: SHOWN_DEFAULT - 4]} ..."
        text = f"{key.meaning}\n{key.spec}; default {default}".replace("%", "%%")
        options = {"metavar": "VALUE", "type": key.parse, "default": argparse.SUPPRESS}
        parser.add_argument(f"--{key.name}", help=text, **options)
        if key.was:
            parser.add_argument(f"--{key.was}", help=argparse.SUPPRESS, **options)
    return parser


def parse_with_report(
    description: str, argv: Sequence[str] | None = None, *, prog: str, quiet: bool = False
) -> tuple[Config, Path | None]:
    """`parse_args` for a command with a file of its own to write, `--report FILE`; None without."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = raise_input_error
    parser.add_argument("--report", type=user_path)
    own, rest = parser.parse_known_args(argv)
    return parse_args(description, rest, prog=prog, quiet=quiet), own.report


def raise_input_error(message: str) -> None:
    """What argparse calls on a flag without a value and the like."""
    raise InputError(f"{WHERE}: {message}")
