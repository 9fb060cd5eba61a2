"""Signs of an augmentation that shows the network little of the objects, or of keys it ignores."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from src.config.keys import load_keys
from src.data.augmentation.presets import PRESETS, STRENGTHS
from src.data.loader import TrainSamples
from src.data.signs.sign import Sign, first_ids
from src.data.transforms import fitted_sides

SAMPLE = 60  # images as the loader gives them, of several epochs where there are fewer
LEAST_OBJECTS = 20
KEPT = 0.3  # of the objects; the presets with their default strengths keep about half or more
TINY = 2.0  # pixels of the input; a smaller side is not seen
STEPS = ("crop", "expand", "jitter")  # that can lose objects


def lost_objects(samples: TrainSamples) -> tuple[Sign, ...]:
    """Most objects of a sample are outside of the view, or tiny.

    A mosaic counts with the objects of all its images.
    """
    before = after = 0
    lost = []
    images = len(samples.annotations)
    spread = np.arange(SAMPLE) * max(images, SAMPLE) // SAMPLE
    for epoch, row in (divmod(number, images) for number in spread.tolist() if images):
        whole = seen_whole(samples, row)
        _, sample = samples.sample(epoch, row, [])
        kept = visible(sample.boxes[~sample.crowd]) if whole else 0
        before, after = before + whole, after + kept
        if kept < whole:
            lost.append(row)
    if before < LEAST_OBJECTS or after >= KEPT * before:
        return ()
    augmentation = samples.augmentation
    keys = [key for key, step in STRENGTHS.items() if step in STEPS and uses(augmentation, step)]
    usual = ", ".join(f"--{key}={list_of(checked_default(key))}" for key in keys)
    return (
        Sign(
            "lost_objects",
            found=f"of {before:,} objects in a sample of the training images, as the loader gives "
            f"them with augmentation {augmentation.preset}, {after:,} are in view with a side of "
            f"{TINY:g} pixels or more",
            cause="The augmentation cuts most objects away, or makes them too small",
            advice=f"weaken it; usual is {usual}" if usual else "choose another augmentation",
            image_ids=first_ids(samples.annotations.image_ids[lost]),
        ),
    )


def uses(augmentation, step: str) -> bool:
    """Whether the preset takes a step."""
    return getattr(PRESETS[augmentation.preset], step)


def list_of(value: Any) -> Any:
    """The value as a flag takes it."""
    return list(value) if isinstance(value, tuple) else value


def seen_whole(samples: TrainSamples, row: int) -> int:
    """How many objects of an image are seen where it is fitted to the input alone."""
    annotations = samples.annotations
    width, height = annotations.sizes[row].tolist()
    keep_aspect = samples.augmentation.keep_aspect
    fitted = fitted_sides(width, height, samples.image_size, keep_aspect=keep_aspect)
    own = slice(annotations.offsets[row], annotations.offsets[row + 1])
    boxes = annotations.boxes[own][~annotations.crowd[own]]
    return visible(boxes * np.tile(np.array(fitted) / [width, height], 2))


def visible(boxes: np.ndarray) -> int:
    """How many of the boxes (B,4), which are in pixels of the input, are not tiny."""
    return int((boxes[:, 2:] - boxes[:, :2] >= TINY).all(axis=1).sum())


def idle_strengths(cfg) -> Iterator[Sign]:
    """A sign for each key that was changed and is of no step of the configured preset."""
    for name, step in STRENGTHS.items():
        changed = cfg[name] != checked_default(name)
        if changed and not getattr(PRESETS[cfg.augmentation], step):
            having = [preset for preset, steps in PRESETS.items() if getattr(steps, step)]
            yield Sign(
                "no_effect",
                found=f"{name} is {list_of(cfg[name])}, which does nothing with augmentation "
                f"{cfg.augmentation}",
                cause=f"It belongs to augmentation {', '.join(having)}",
                advice=f"set another augmentation, or leave {name} out",
            )


def checked_default(name: str) -> Any:
    """A key's default in the type of the configuration's values."""
    key = load_keys()[name]
    return key.check(key.default, name)
