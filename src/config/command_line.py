"""The command line: every key is a flag, `--key=value` or `--key value`."""

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from src.config.configuration import YAML_ERRORS, Config, Layer, make_config, read_recipe
from src.config.consistency import as_lists
from src.config.keys import Key, load_keys, note_new_names, unknown_hint, with_new_names
from src.runtime.errors import InputError

WHERE = "command line"  # as errors call it


def parse_args(
    description: str,
    argv: Sequence[str] | None = None,
    *,
    beneath: Callable[[Mapping[str, Any]], Layer] | None = None,
    prog: str | None = None,
) -> Config:
    """The configuration from the command line (sys.argv where none is given).

    A flag overrides the recipe file that `--config_path` names, the recipe overrides the default.

    Args:
        beneath: given what recipe and flags set, returns a layer that overrides only the defaults.
        prog: the command in the usage; by default the name of the script.
    """
    argv = sys.argv[1:] if argv is None else argv
    arguments, rest = flag_parser(description, prog).parse_known_args(argv)
    if rest:
        name = rest[0].lstrip("-").partition("=")[0]
        raise InputError(f"{WHERE}: unknown argument {rest[0]!r}{unknown_hint(name)}")
    flags = vars(arguments)
    path = flags.pop("config_path")
    note_new_names(flags, dashes="--")
    recipe = {} if path is None else read_recipe(path)
    note_new_names(recipe, f"{path}: ")
    recipe, flags = with_new_names(recipe, path), with_new_names(flags, WHERE)
    layers = [(recipe, path), (flags, WHERE)]
    if beneath is not None:
        layers.insert(0, beneath({**recipe, **flags}))
    return make_config(layers)


def flag_parser(description: str, prog: str | None = None) -> argparse.ArgumentParser:
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
        text = f"{key.meaning}\n{key.spec}; default {shorten(as_lists(key.default))}"
        for name, shown in ((key.name, text.replace("%", "%%")), (key.was, argparse.SUPPRESS)):
            if name:
                parser.add_argument(
                    f"--{name}",
                    metavar="VALUE",
                    type=functools.partial(parse_flag, key),
                    default=argparse.SUPPRESS,
                    help=shown,
                )
    return parser


def parse_flag(key: Key, text: str) -> Any:
    """The value of a flag: a str as it is, anything else as YAML."""
    if key.is_text:
        return text
    try:
        return yaml.safe_load(text)
    except YAML_ERRORS:
        return text  # of the wrong type, which make_config reports


def parse_with_report(
    description: str, argv: Sequence[str] | None = None, *, prog: str
) -> tuple[Config, Path | None]:
    """`parse_args` for a command with a file of its own to write, `--report FILE`; None without."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = raise_input_error
    parser.add_argument("--report", type=Path)
    own, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    return parse_args(description, rest, prog=prog), own.report


def raise_input_error(message: str) -> None:
    """What argparse calls on a flag without a value and the like."""
    raise InputError(f"{WHERE}: {message}")


def shorten(value: Any, limit: int = 60) -> str:
    """The value as text, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."
