"""The configuration: the defaults with a recipe file and flags over them, checked and read-only."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from easydict import EasyDict

from src.config.class_list import with_background
from src.config.consistency import as_lists, check_consistency
from src.config.keys import (
    DEFAULT_PATH,
    YAML_ERRORS,
    load_keys,
    unknown_hint,
    why_not_yaml,
    with_new_names,
)
from src.runtime.errors import InputError
from src.runtime.near_path import no_file

Layer = tuple[Mapping[str, Any], str]  # values, and where they are from


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

    def replace(self, where: str = "what was found", /, **changes: Any) -> "Config":
        """A checked copy with some keys changed; errors say `where` the changes are from."""
        return make_config([(dict(self), "the configuration"), (changes, where)])

    def to_yaml(self) -> str:
        """The configuration as a recipe file that gives it back."""
        plain = {name: as_lists(value) for name, value in self.items()}
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None)


def make_config(layers: Sequence[Layer]) -> Config:
    """The defaults with layers of (values, where they are from) over them, later ones stronger."""
    defaults, sources = {name: key.default for name, key in load_keys().items()}, {}
    values = checked_values(defaults, str(DEFAULT_PATH))
    for changes, where in layers:
        checked = checked_values(changes, where)
        values |= checked
        sources |= dict.fromkeys(checked, where)
    values["classes"] = with_background(values["classes"])
    if len(values["image_size"]) == 1:
        values["image_size"] *= 2  # of a square
    cfg = Config(values)
    try:
        check_consistency(cfg)
    except InputError as error:
        raise InputError(f"{error}{sources_of(str(error), sources)}") from None
    return cfg


def checked_values(changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values by the keys' present names, in their types; InputError for unknown keys too."""
    keys, checked = load_keys(), {}
    for name, value in with_new_names(changes, where).items():
        if name not in keys:
            raise InputError(f"{where}: unknown key {name!r}{unknown_hint(name)}")
        checked[name] = keys[name].check(value, where)
    return checked


def sources_of(message: str, sources: Mapping[str, str]) -> str:
    """Where the keys that a message names are from, if several files or the like set them."""
    named = {key: where for key, where in sources.items() if re.search(rf"\b{key}\b", message)}
    places = dict.fromkeys(named.values())
    if len(places) < 2:
        return ""
    lists = (
        f"{', '.join(key for key in named if named[key] == where)} from {where}" for where in places
    )
    return f" ({'; '.join(lists)})"


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a repeated key is an error, not a silent override."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: {key!r} is given a second time")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_recipe(path: str) -> dict[str, Any]:
    """The keys that a recipe file sets; InputError if it cannot be read."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), UniqueKeyLoader)
    except OSError as error:
        what = f"{path}: cannot be read: {error.strerror}"
        if not os.path.isfile(path):
            what = no_file(path, ".yaml")
        raise InputError(f"{what}; check --config_path") from error
    except YAML_ERRORS as error:
        raise InputError(f"{path}: {why_not_yaml(error)}; check --config_path") from error
    if not isinstance(content, dict | None):
        raise InputError(f"{path}: expected lines of 'key: value', found {type(content).__name__}")
    return content or {}
