"""The command line: every key is a flag, `--key=value` or `--key value`."""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.config.configuration import Config, Layer, checked_values, make_config, read_recipe
from src.config.idle_keys import note_idle_keys
from src.config.keys import Key, load_keys, note_old_names, unknown_hint
from src.runtime.errors import InputError
from src.runtime.files import user_path

Beneath = Callable[[Mapping[str, Any]], Layer]  # see `parse_args`

WHERE = "command line"  # as errors call it
FLAG_OF_FILE = {  # that is given alone, by its suffix
    ".yaml": "config", ".yml": "config", ".ckpt": "checkpoint_path", ".mindir": "model",
    ".onnx": "model",
}  # fmt: skip
SHOWN_DEFAULT = 60  # characters in --help
SHORT_FORMS = """\
A bool alone is true, as in --resume, and --no-resume is false. A list needs no brackets:
--classes=cat,dog; a name with a comma does: --classes='["a, b",c]'."""


def parse_args(
    description: str,
    argv: Sequence[str] | None = None,
    *,
    beneath: Beneath | None = None,
    over_recipe: Sequence[str] = (),
    prog: str | None = None,
    program: str = "",
    quiet: bool = False,
) -> Config:
    """The configuration from the command line (sys.argv by default).

    A flag overrides the recipe file that `--config_path` names, the recipe overrides the default.
    `beneath`, given what both set, returns a layer that overrides only the defaults, and with the
    keys `over_recipe` the recipe too. `prog` is the command in the usage, else the script's name;
    `program`, one of PROGRAMS, is the one whose keys --help lists, else all; `quiet` leaves out
    notes on former names of keys, and on flags without effect.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if "--all" in argv and {"-h", "--help"} & set(argv):
        program = ""
    arguments, rest = flag_parser(description, prog, program).parse_known_args(argv)
    if rest:
        raise InputError(f"{WHERE}: unknown argument {rest[0]!r}{rest_hint(rest[0])}")
    flags = vars(arguments)
    path = flags.pop("config_path")
    if not quiet:
        note_old_names(flags, dashes="--")
    cfg = layered(path, (flags, WHERE), beneath, over_recipe, quiet=quiet)
    if not quiet:
        # commands of another name than their program take the flags of train.py
        note_idle_keys(cfg, flags, dashes="--", program="" if prog else program)
    return cfg


def python_config(
    config: str | Path | None,
    keys: Mapping[str, Any],
    *,
    where: str,
    beneath: Beneath | None = None,
    over_recipe: Sequence[str] = (),
) -> Config:
    """`parse_args` for a function of that name (`where`), with a recipe file and keys."""
    note_old_names(keys, f"{where}: ")
    given = {key: str(v) if isinstance(v, os.PathLike) else v for key, v in keys.items()}
    cfg = layered(config and str(config), (given, where), beneath, over_recipe)
    note_idle_keys(cfg, given, f"{where}: ")
    return cfg


def layered(
    path: str | None,
    given: Layer,
    beneath: Beneath | None,
    over_recipe: Sequence[str],
    *,
    quiet: bool = False,
) -> Config:
    """The keys `given` over the recipe file at `path`; the rest as for `parse_args`."""
    path = path and os.path.expanduser(path)
    recipe = {} if path is None else read_recipe(path)
    if not quiet:
        note_old_names(recipe, f"{path}: ")
    recipe, own = checked_values(recipe, path), checked_values(*given)
    lowest = beneath({**recipe, **own}) if beneath else ({}, "")
    known = [key for key in over_recipe if key in lowest[0]]
    recipe = {key: value for key, value in recipe.items() if key not in known}
    return make_config([lowest, (recipe, path), (own, given[1])])


class Wrapped(argparse.RawDescriptionHelpFormatter):
    """Help with each line of a text wrapped by itself."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [part for line in text.splitlines() for part in textwrap.wrap(line, width)]


def flag_parser(description: str, prog: str | None, program: str) -> argparse.ArgumentParser:
    """A parser of --config and of all keys; --help lists those of `program`, or all."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s [--config=FILE] [--KEY=VALUE ...]",
        description=description,
        epilog=SHORT_FORMS,
        allow_abbrev=False,
        add_help=False,
        formatter_class=Wrapped,
    )
    parser.error = raise_input_error
    own = parser.add_argument_group("the command line")
    own.add_argument(
        *("-h", "--help"), action="help", help="this list; with --all the keys of all programs"
    )
    own.add_argument(
        *("--config", "--config_path"),
        dest="config_path",
        metavar="FILE",
        help="recipe file (YAML) that overrides the defaults",
    )
    groups = {}
    for key in load_keys().values():
        if key.section not in groups:
            groups[key.section] = parser.add_argument_group(key.section)
        add_key(groups[key.section].add_argument, key, is_listed=program in ("", *key.programs))
    return parser


def add_key(add: Callable[..., Any], key: Key, *, is_listed: bool) -> None:
    """Adds the flags of a key by `add_argument`; --help shows its name if it `is_listed`."""
    default = repr(key.default)
    if len(default) > SHOWN_DEFAULT:
        default = f"{default[: SHOWN_DEFAULT - 4]} ..."
    text = f"{key.meaning}\n{key.spec}; default {default}".replace("%", "%%")
    options = {"metavar": "VALUE", "type": key.parse, "default": argparse.SUPPRESS}
    if key.is_switch:
        options |= {"nargs": "?", "const": True}
    add(f"--{key.name}", help=text if is_listed else argparse.SUPPRESS, **options)
    if key.was:
        add(f"--{key.was}", help=argparse.SUPPRESS, **options)
    if key.is_switch:
        hidden = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS, "dest": key.name}
        names = (f"--no-{key.name}", f"--no_{key.name}")
        add(*names, action="store_const", const=False, **hidden)


def rest_hint(argument: str) -> str:
    """What to add to the error on an argument that is not understood."""
    if argument.startswith("-"):
        name = argument.lstrip("-").partition("=")[0]
        key = load_keys().get(re.sub("^no[-_]", "", name))
        return off_hint(key) if key else unknown_hint(name)
    if flag := FLAG_OF_FILE.get(os.path.splitext(argument)[1]):
        return f"; did you mean --{flag}={argument}?"
    return "; a list is written without spaces, as in --classes=cat,dog, or in quotes"


def off_hint(key: Key) -> str:
    """What turns off a key that is no switch, or its default: "; --tiles takes a value, ..."."""
    for value in ("", 0, "none", key.default):
        with suppress(InputError):
            key.check(value, key.name)
            return f"; --{key.name} takes a value, such as {as_flag(key.name, value)}"
    return ""


def as_flag(name: str, value: Any) -> str:
    """A key and its value as they are typed."""
    return f"--{name}={str(value).replace(' ', '')}"


def parse_with_report(
    description: str,
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    program: str,
    quiet: bool = False,
) -> tuple[Config, Path | None]:
    """`parse_args` for a command with a file of its own to write, `--report FILE`; None without."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = raise_input_error
    parser.add_argument("--report", type=user_path)
    own, rest = parser.parse_known_args(argv)
    return parse_args(description, rest, prog=prog, program=program, quiet=quiet), own.report


def raise_input_error(message: str) -> None:
    """What argparse calls on a flag without a value and the like."""
    name = re.match(r"argument --(\w+): expected one argument", message)
    key = name and load_keys().get(name[1])
    if key:
        example = re.search(r"e\.g\. ([\w./]+)", key.meaning)
        value = example[1] if example else key.default
        message += f", such as {as_flag(key.name, value)}\n  {key.spec}: {key.meaning}"
    raise InputError(f"{WHERE}: {message}")
