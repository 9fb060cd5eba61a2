"""The keys of the configuration, as config/default.yaml describes them.

An entry there ends with a comment "type range; scope | meaning". After the scope may come, in this
order, "; was OLD" where the key had another name; "; for train, eval" where the programs that
--help lists it for are not those of its section, "# --- title (programs)"; "; if OTHER=a, b" and
"; unless OTHER" where it has no effect otherwise, see idle_keys.py. Types are bool, int, float,
str, path, `one of a, b` and `list of TYPE`; a range is `low..high`, `>= low` or `> low`. "or auto"
behind it allows that word too.
"""

import functools
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from src.config.names_elsewhere import NAMES_ELSEWHERE
from src.runtime.errors import InputError
from src.runtime.files import REPOSITORY
from src.runtime.text import is_name, shown, suggestion

DEFAULT_PATH = REPOSITORY / "config" / "default.yaml"
# an impossible date raises ValueError, a list as a key TypeError, deep nesting RecursionError
YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, RecursionError)
YAML_PLACE = re.compile(r' in "<[^"]*>",?')  # what it calls a text that is no file
PERCENT = 100
KINDS = {"bool": bool, "int": int, "float": float, "str": str, "path": str}
AUTO = "auto"
NUMBER = r"(-?\d+(?:\.\d+)?)"
SPEC = re.compile(
    rf"((?:list of )*)({'|'.join(KINDS)})(?: {NUMBER}\.\.{NUMBER}| (>=|>) {NUMBER})?"
    rf"( or {AUTO})?$"
)
CHOICE = re.compile(r"one of (\w+(?:, \w+)*)$")
# a key, its value on one line or several, and the comment behind it
ENTRY = re.compile(r"^(\w+):(?:(?!^\w+:).)*?  # ([^\n]+)", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(
    r"(?P<spec>[^;|]+)(?:; (?P<scope>\w+))?(?:; was (?P<was>\w+))?"
    r"(?:; for (?P<programs>\w+(?:, \w+)*))?"
    r"(?:; if (?P<needs>[^;|]+))?(?:; unless (?P<unless>\w+(?:, \w+)*))? \| (?P<meaning>.+)"
)
SECTION = re.compile(r"^# --- (.+?)(?: \((\w+(?:, \w+)*)\))?$", re.MULTILINE)
PROGRAMS = ("train", "eval", "export", "predict", "validate")
LARGEST = {int: sys.maxsize, float: sys.float_info.max}  # infinity is refused
SCOPES = ("graph", "run", "session", "batch")
RETIRED = {  # items of lists that earlier versions knew; runs and recipes may still have them
    "accept": (
        "areas", "blank_samples", "box_areas", "default_box", "equal_boxes", "few_images",
        "file_names", "flat_images", "lost_objects", "offset", "one_side",
        "outlines", "swapped_classes",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One key: name, default, meaning, scope, former name, and what its `spec` allows.

    `section` is its place in default.yaml, `programs` those whose --help lists it; for `needs` and
    `unless` see idle_keys.py.
    """

    name: str
    default: Any
    meaning: str
    spec: str
    scope: str
    was: str
    section: str
    programs: tuple[str, ...]
    needs: str
    unless: str
    type: Any  # with constraints, for msgspec; lists are tuples

    @property
    def is_switch(self) -> bool:
        """Whether it can be true or false, so that the flag alone means true."""
        return self.spec == "bool" or "true" in self.spec.removeprefix("one of ").split(", ")

    @property
    def items(self) -> str:
        """What a list of plain values holds, such as "int >= 32"; else ""."""
        _, is_list, items = self.spec.partition("list of ")
        return "" if not is_list or items.startswith("list of ") else items

    def parse(self, text: str) -> Any:
        """The value of a flag: a str, a path or a choice as it is, anything else as YAML.

        A list may lack its brackets: "640,640" or "cat, dog".
        """
        if self.spec.startswith(("str", "path", "one of")):
            return text
        try:
            value = yaml.safe_load(text)
        except YAML_ERRORS:
            value = text  # of the wrong type, which `check` reports
        if not self.items or isinstance(value, list) or text.lstrip().startswith(("[", "{")):
            return value
        items = [item.strip() for item in text.split(",")] if text.strip() else []
        if not self.items.startswith("str"):
            items = [as_number(item) for item in items]
        return items if all(item not in ("", None) for item in items) else text

    def check(self, value: Any, where: str) -> Any:
        """The value in the key's type, lists as tuples, `~` as the home folder.

        RETIRED items are left out. InputError says `where` the value came from.
        """
        # YAML reads a choice of true as a bool, and 1e-3 as a string
        is_choice = self.spec.startswith("one of")
        is_bool = is_choice and str(value).lower() in ("true", "false")
        plain, strict = str(value).lower() if is_bool else value, "float" not in self.spec
        if self.items and isinstance(value, int | float) and not isinstance(value, bool):
            plain = [value]
        try:
            converted = msgspec.convert(plain, self.type, strict=strict)
        except (msgspec.ValidationError, UnicodeEncodeError):  # it reads numbers as UTF-8
            near = suggestion(value, self.spec[len("one of ") :].split(", ")) if is_choice else ""
            spec = "one path" if self.spec == "path" else self.spec
            expected = f"expected {spec}{self.example(value)}{near}"
            raise InputError(f"{where}: {self.name} is {shown(value)}; {expected}") from None
        if retired := RETIRED.get(self.name):
            converted = tuple(item for item in converted if item not in retired)
        if self.spec == "path" and str(converted).startswith("[") and not os.path.exists(converted):
            raise InputError(f"{where}: {self.name} is {shown(value)}; expected one path, no list")
        if isinstance(converted, str) and not is_name(converted):
            what = "a null byte, or characters that names of files cannot hold here"
            raise InputError(f"{where}: {self.name} is {shown(value)}, which has {what}")
        return os.path.expanduser(converted) if self.spec == "path" else converted

    def example(self, value: Any) -> str:
        """How a list, a share given in percent or a decimal point is written, for errors; or ""."""
        if self.spec.startswith("list of "):
            return f", such as {str(self.default or '[first,second]').replace(' ', '')}"
        if "float" in self.spec and re.fullmatch(r"\d+,\d+", str(value)):
            return f"; did you mean {str(value).replace(',', '.')}?"
        is_share = self.spec.startswith("float 0..") and type(value) in (int, float)
        return f"; {value:g} % is {value / PERCENT:g}" if is_share and 1 < value <= PERCENT else ""


def as_number(text: str) -> Any:
    """The number as YAML reads it; None for another text."""
    try:
        float(text)
        return yaml.safe_load(text)
    except YAML_ERRORS:
        return None


def why_not_yaml(error: Exception) -> str:
    """What is wrong with a file, by one of YAML_ERRORS."""
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return f"not YAML: {YAML_PLACE.sub('', ' '.join(str(error).split()))}"


@functools.cache
def load_keys(path: Path = DEFAULT_PATH) -> dict[str, Key]:
    """All keys by name, in the order of default.yaml; ValueError if one is not described."""
    text = path.read_text(encoding="utf-8")
    values, (start, *parts) = yaml.safe_load(text), SECTION.split(text)
    described = {}
    for title, programs, body in [("", "", start), *zip(*[iter(parts)] * 3, strict=True)]:
        for name, comment in ENTRY.findall(body):
            described[name] = comment, title, programs or ""
    unknown = ("", "", "")
    return {name: make_key(name, values[name], *described.get(name, unknown)) for name in values}


def make_key(name: str, default: Any, comment: str, section: str, of_section: str) -> Key:
    """The key that the comment in default.yaml describes; ValueError if it does not.

    `of_section` has the programs of its section; empty: all.
    """
    described = COMMENT.fullmatch(comment)
    parts = described.groupdict(default="") if described else {"spec": "", "scope": ""}
    allowed = allowed_type(parts["spec"])
    if allowed is None:
        raise ValueError(f"default.yaml: {name} needs a comment 'type range; scope | meaning'")
    if parts["scope"] not in SCOPES:
        scope, scopes = parts["scope"], ", ".join(SCOPES)
        raise ValueError(f"default.yaml: {name} has the scope {scope!r}; expected one of {scopes}")
    programs = tuple((parts.pop("programs") or of_section or ", ".join(PROGRAMS)).split(", "))
    if other := [program for program in programs if program not in PROGRAMS]:
        known = ", ".join(PROGRAMS)
        raise ValueError(f"default.yaml: {name} is for {other[0]!r}; expected some of {known}")
    return Key(
        name=name, default=default, type=allowed, section=section, **parts, programs=programs
    )


def allowed_type(spec: str) -> Any:
    """The type that msgspec checks for a spec such as "list of float > 0"; None for no spec."""
    if choice := CHOICE.match(spec):
        return Literal[tuple(choice.group(1).split(", "))]
    if not (plain := SPEC.match(spec)):
        return None
    lists, kind, low, high, sign, least, auto = plain.groups()
    allowed = kind = KINDS[kind]
    limits = {"gt" if sign == ">" else "ge": low or least, "le": high or LARGEST.get(kind)}
    if given := {name: kind(limit) for name, limit in limits.items() if limit is not None}:
        allowed = Annotated[kind, msgspec.Meta(**given)]
    for _ in range(lists.count("list of ")):
        allowed = tuple[allowed, ...]
    return allowed | Literal[AUTO] if auto else allowed


def keys_of_scope(*scopes: str) -> tuple[str, ...]:
    """Names of the keys of these scopes, which config/default.yaml explains."""
    return tuple(name for name, key in load_keys().items() if key.scope in scopes)


def with_new_names(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values by the keys' present names; InputError if old and new name contradict."""
    renamed = dict(values)
    for key in load_keys().values():
        if key.was and key.was in values:
            old = renamed.pop(key.was)
            new = renamed.setdefault(key.name, old)
            if key.check(old, where) != key.check(new, where):
                found = f"{key.was} is {old!r} and {key.name} is {new!r}"
                hint = f"{key.was} is the old name of {key.name}, give one of them"
                raise InputError(f"{where}: {found}; {hint}")
    return renamed


def note_old_names(values: Mapping[str, Any], where: str = "", *, dashes: str = "") -> None:
    """Lines on stderr: for each old name, "--alpha is now --focal_alpha", and for RETIRED items."""
    for key in load_keys().values():
        if key.was in values:
            print(f"{where}{dashes}{key.was} is now {dashes}{key.name}", file=sys.stderr)
    for name, retired in RETIRED.items():
        given = values.get(name)
        items = given if isinstance(given, list | tuple) else [given]
        if old := ", ".join(item for item in items if item in retired):
            what = f"{where}{dashes}{name} has names that are no longer used: {old}"
            print(f"note: {what}", file=sys.stderr)


def unknown_hint(name: object) -> str:
    """What to add to the error on an unknown key."""
    plain = str(name).lower().replace("-", "_")
    if here := NAMES_ELSEWHERE.get(plain):
        return f"; did you mean {' or '.join(map(repr, here.split(', ')))}?"
    return suggestion(name, load_keys()) or "; --help --all lists all keys"
