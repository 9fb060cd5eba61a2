"""The configuration: default.yaml, a recipe file and the command line, checked and read-only.

config/default.yaml is the one place where a key is described: its default and, at the end of the
entry, a comment "type range; scope | meaning". Types are bool, int, float, str, `one of a, b` and
`list of TYPE`; a range is `low..high`, `>= low` or `> low`; default.yaml explains the scopes.
"""

import argparse
import functools
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import yaml
from easydict import EasyDict

from src.config.consistency import as_lists, check_consistency
from src.runtime.errors import InputError
from src.runtime.files import REPOSITORY
from src.runtime.text import suggestion

DEFAULT_PATH = REPOSITORY / "config" / "default.yaml"
# an impossible date raises ValueError, a list as a key TypeError, deep nesting RecursionError
YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, RecursionError)
KINDS = {"bool": bool, "int": int, "float": float, "str": str}
NUMBER = r"(-?\d+(?:\.\d+)?)"
SPEC = re.compile(rf"((?:list of )*)(\w+)(?: {NUMBER}\.\.{NUMBER}| (>=|>) {NUMBER})?$")
CHOICE = re.compile(r"one of (\w+(?:, \w+)*)$")
SCOPES = ("graph", "run", "session", "batch")

Layer = tuple[Mapping[str, Any], str]  # values, and where they are from


@dataclass(frozen=True)
class Key:
    """One key: name, default, meaning, scope, and what its `spec` allows."""

    name: str
    default: Any
    meaning: str
    spec: str
    scope: str
    kind: type
    depth: int = 0  # 1 for a list, 2 for a list of lists
    choices: tuple[str, ...] = ()
    low: float = float("-inf")
    low_excluded: bool = False
    high: float = float("inf")

    def check(self, value: Any, where: str) -> Any:
        """The value in the key's type, lists as tuples; InputError says `where` it came from."""
        try:
            return self._convert(value, self.depth)
        except (ValueError, OverflowError):
            raise InputError(f"{where}: {self.name} is {value!r}; expected {self.spec}") from None

    def _convert(self, value: Any, depth: int) -> Any:
        if depth:
            if not isinstance(value, (list, tuple)):
                raise ValueError
            return tuple(self._convert(item, depth - 1) for item in value)
        if self.kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
            value = float(value)  # YAML reads 1 as an int and 1e-3 as a string
        if self.choices and str(value).lower() in ("true", "false"):
            value = str(value).lower()  # YAML reads true as a bool
        if type(value) is not self.kind or (self.choices and value not in self.choices):
            raise ValueError
        if self.kind in (int, float):
            too_low = value <= self.low if self.low_excluded else value < self.low
            if too_low or value > self.high or not math.isfinite(value):
                raise ValueError
        return value

    def parse(self, text: str) -> Any:
        """The value of a command-line flag: a str as it is, anything else as YAML."""
        if self.kind is str and self.depth == 0:
            return text
        try:
            return yaml.safe_load(text)
        except YAML_ERRORS:
            return text  # not the key's type, which check() will say


class Config(EasyDict):
    """The configuration in force: `cfg.lr` or `cfg["lr"]`. It cannot be changed."""

    def __init__(self, values: Mapping[str, Any]):
        for name, value in values.items():
            super().__setattr__(name, value)

    def _refuse(self, *args, **kwargs):
        raise TypeError("the configuration is read-only; replace() makes another")

    __setattr__ = __setitem__ = __delattr__ = __delitem__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self):
        return Config, (dict(self),)

    def replace(self, **changes: Any) -> "Config":
        """A checked copy with some keys changed."""
        return make_config([(dict(self), "config"), (changes, "replace()")])

    def to_yaml(self) -> str:
        """The configuration as a recipe file that gives it back."""
        plain = {name: as_lists(value) for name, value in self.items()}
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None)


@functools.cache
def load_keys(path: Path = DEFAULT_PATH) -> dict[str, Key]:
    """All keys by name, in the order of default.yaml; ValueError where one is not described."""
    text = path.read_text(encoding="utf-8")
    comments: dict[str, str] = {}
    name = None
    for line in text.splitlines():
        if match := re.match(r"(\w+):", line):
            name = match.group(1)
        if name and "  # " in line:
            comments[name] = line.split("  # ", 1)[1]
    return {name: make_key(name, value, comments) for name, value in yaml.safe_load(text).items()}


def make_key(name: str, default: Any, comments: Mapping[str, str]) -> Key:
    """The key that the comment in default.yaml describes."""
    allowed, _, meaning = comments.get(name, "").partition(" | ")
    spec, _, scope = allowed.partition("; ")
    choice, plain = CHOICE.match(spec), SPEC.match(spec)
    if not (meaning and (choice or (plain and plain.group(2) in KINDS))):
        raise ValueError(f"default.yaml: {name} needs a comment 'type range; scope | meaning'")
    if scope not in SCOPES:
        expected = ", ".join(SCOPES)
        raise ValueError(
            f"default.yaml: {name} has the scope {scope!r}; expected one of {expected}"
        )
    described = {
        "name": name, "default": default, "meaning": meaning, "spec": spec, "scope": scope
    }  # fmt: skip
    if choice:
        return Key(**described, kind=str, choices=tuple(choice.group(1).split(", ")))
    lists, kind, low, high, sign, least = plain.groups()
    return Key(
        **described,
        kind=KINDS[kind],
        depth=lists.count("list of "),
        low=float(low or least or "-inf"),
        low_excluded=sign == ">",
        high=float(high or "inf"),
    )


def keys_of_scope(*scopes: str) -> tuple[str, ...]:
    """Names of the keys of these scopes, which config/default.yaml explains."""
    return tuple(name for name, key in load_keys().items() if key.scope in scopes)


def make_config(layers: Sequence[Layer]) -> Config:
    """The defaults with layers of (values, where they are from) over them, later ones stronger."""
    keys = load_keys()
    values = {name: key.check(key.default, str(DEFAULT_PATH)) for name, key in keys.items()}
    for changes, where in layers:
        for name, value in changes.items():
            if name not in keys:
                raise InputError(f"{where}: unknown key {name!r}{unknown_hint(name, keys)}")
            values[name] = keys[name].check(value, where)
    check_consistency(values)
    return Config(values)


def unknown_hint(name: object, keys: Mapping[str, Key]) -> str:
    """What to add to the error on an unknown key."""
    return suggestion(name, keys) or "; --help lists all keys"


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a key that comes twice is an error, not a silent override."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: {key!r} comes a second time")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_recipe(path: str) -> dict[str, Any]:
    """The keys that a recipe file sets; InputError where it cannot be read."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), UniqueKeyLoader)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; check --config_path"
        ) from error
    except YAML_ERRORS as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected lines of 'key: value', found {type(content).__name__}")
    return content


def parse_args(
    description: str,
    argv: Optional[Sequence[str]] = None,
    *,
    beneath: Optional[Callable[[Mapping[str, Any]], Layer]] = None,
) -> Config:
    """The configuration from the command line (sys.argv where none is given).

    Every key is a flag, `--key=value` or `--key value`; `--config_path` names the recipe file.
    A flag overrides the recipe, the recipe overrides the default.

    Args:
        beneath: from what recipe and flags set, gives what is to override the defaults alone.
    """
    keys = load_keys()
    parser = argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.error = raise_input_error
    parser.add_argument(
        "--config_path", metavar="FILE", help="recipe file (YAML) over the defaults"
    )
    for key in keys.values():
        text = f"{key.meaning}\n{key.spec}; default {shorten(as_lists(key.default))}"
        parser.add_argument(
            f"--{key.name}",
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
        )
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if rest:
        name = rest[0].lstrip("-").partition("=")[0]
        raise InputError(f"command line: unknown argument {rest[0]!r}{unknown_hint(name, keys)}")
    flags = vars(arguments)
    layers = []
    path = flags.pop("config_path")
    if path is not None:
        layers.append((read_recipe(path), path))
    layers.append(({name: keys[name].parse(text) for name, text in flags.items()}, "command line"))
    if beneath is not None:
        given = {name: value for values, _ in layers for name, value in values.items()}
        layers.insert(0, beneath(given))
    return make_config(layers)


def parse_with_report(
    description: str, argv: Optional[Sequence[str]] = None
) -> tuple[Config, Optional[Path]]:
    """`parse_args` for a command with a file of its own to write, `--report FILE`; None without."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = raise_input_error
    parser.add_argument("--report", type=Path)
    own, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    return parse_args(description, rest), own.report


def raise_input_error(message: str) -> None:
    """What argparse calls on a flag without a value and the like."""
    raise InputError(f"command line: {message}")


def shorten(value: Any, limit: int = 60) -> str:
    """The value as text, cut in the middle of long lists."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."
