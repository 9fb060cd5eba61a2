"""Keys that are given and have no effect, as config/default.yaml says of them.

`needs` is conditions, of which one must hold, such as "tiles or resize=stretch, letterbox": a key
is set, or has one of the values. None of the keys in `unless` may be set.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from src.config.keys import Key, load_keys, with_new_names

OFF = (0, "", "none", ())  # values of keys that are not set; False is 0
# in all programs the flags of a run may be repeated, which say what is trained and how
OWN_SCOPES = ("session", "batch")


def note_idle_keys(
    cfg: Mapping[str, Any],
    given: Mapping[str, Any],
    where: str = "",
    *,
    dashes: str = "",
    program: str = "",
) -> None:
    """A line on stderr for each of the keys `given` that has no effect in the configuration.

    For example "note: --tile_overlap has no effect without --tiles"; empty values get none.
    `program` is the script that reads the configuration, where keys of others have none either.
    """
    keys = load_keys()
    for name in with_new_names(given, where):
        reason = why_idle(keys[name], cfg, dashes, program)
        if reason and cfg[name] not in ("", ()):
            print(f"note: {where}{dashes}{name} has no effect {reason}", file=sys.stderr)


def why_idle(key: Key, cfg: Mapping[str, Any], dashes: str, program: str) -> str:
    """Why a key has no effect: "without --tiles", "with --finetune", "in eval.py"; "" if it has."""
    if program and program not in key.programs and key.scope in OWN_SCOPES:
        return f"in {program}.py"
    needs = [condition.partition("=")[::2] for condition in split(key.needs, " or ")]
    if program and any(program not in load_keys()[name].programs for name, _ in needs):
        needs = []  # a condition of other programs
    if needs and not any(holds(cfg[name], values) for name, values in needs):
        return "without " + alternatives(
            dashes + name + (f"={alternatives(split(values, ', '))}" if values else "")
            for name, values in needs
        )
    others = [name for name in split(key.unless, ", ") if holds(cfg[name])]
    return f"with {dashes}{others[0]}" if others else ""


def holds(value: Any, values: str = "") -> bool:
    """Whether a value is one of those listed, or else is not off."""
    return str(value) in split(values, ", ") if values else value not in OFF


def split(text: str, separator: str) -> list[str]:
    """The parts of a text; none of an empty one."""
    return text.split(separator) if text else []


def alternatives(items: Iterable[str]) -> str:
    """ "a or b"."""
    return " or ".join(items)
