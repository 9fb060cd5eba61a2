"""Strengths of augmentation that differ from their defaults."""

from collections.abc import Iterator
from typing import Any

from src.config.keys import load_keys
from src.data.augmentation.presets import PRESETS, STRENGTHS
from src.data.signs.sign import Sign


def changed_strengths(cfg) -> Iterator[tuple[str, str]]:
    """The keys of STRENGTHS that differ from their defaults, each with its step."""
    for name, step in STRENGTHS.items():
        key = load_keys()[name]
        if cfg[name] != key.check(key.default, name):
            yield name, step


def describe_strengths(cfg) -> str:
    """The strengths that the preset uses and that differ: ", crop_scale [0.1, 0.2]"."""
    steps = PRESETS[cfg.augmentation]
    used = [name for name, step in changed_strengths(cfg) if getattr(steps, step)]
    return "".join(f", {name} {as_flag(cfg[name])}" for name in used)


def idle_strengths(cfg) -> Iterator[Sign]:
    """A sign for each key that was changed but belongs to no step of the configured preset."""
    for name, step in changed_strengths(cfg):
        if not getattr(PRESETS[cfg.augmentation], step):
            having = [preset for preset, steps in PRESETS.items() if getattr(steps, step)]
            yield Sign(
                "no_effect",
                found=f"{name} is {as_flag(cfg[name])}, which does nothing with augmentation "
                f"{cfg.augmentation}",
                cause=f"It belongs to augmentation {', '.join(having)}",
                advice=f"set another augmentation, or leave {name} out",
            )


def as_flag(value: Any) -> Any:
    """The value as a flag takes it."""
    return list(value) if isinstance(value, tuple) else value
