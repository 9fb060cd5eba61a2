"""Signs of an augmentation that shows the network little of the objects, or of keys it ignores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
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
FLAT = 6.0  # levels of 255 that the pixels of a sample spread, beneath which it shows nothing
# of the samples; the presets with their default strengths have up to 2 % flat, and 33 % without
# an object where images have a single small one
FLAT_SHARE, EMPTY_SHARE = 0.15, 0.4
STEPS = ("crop", "expand", "jitter")  # that can lose objects


@dataclass(frozen=True)
class Seen:
    """What the loader makes of one image: S samples, of images that have an object to be seen."""

    rows: np.ndarray  # (S,) of the images
    epochs: np.ndarray  # (S,)
    before: np.ndarray  # (S,) objects that are seen where the image is fitted to the input alone
    after: np.ndarray  # (S,) of the sample; a mosaic counts with the objects of all its images
    flat: np.ndarray  # (S,) bool, of nearly one colour though the image is far from it


def augmented_sign(samples: TrainSamples) -> Sign | None:
    """Most objects of a sample are out of view or tiny, or many samples show nothing."""
    seen = draw_samples(samples)
    if seen.before.sum() < LEAST_OBJECTS:
        return None
    return lost_objects(samples, seen) or blank_samples(samples, seen)


def draw_samples(samples: TrainSamples) -> Seen:
    """A sample of SAMPLE images, evenly spaced."""
    images = len(samples.annotations)
    found = []
    spread = np.arange(SAMPLE) * max(images, SAMPLE) // SAMPLE
    for epoch, row in (divmod(number, images) for number in spread.tolist() if images):
        if before := seen_whole(samples, row):
            record, sample = samples.sample(epoch, row, [])
            after = visible(sample.boxes[~sample.crowd])
            contrast = spread_of(sample.image)
            flat = contrast < FLAT and spread_of(record.read()) >= 2 * FLAT
            found.append((row, epoch, before, after, flat))
    table = np.array(found, int).reshape(-1, 5)
    return Seen(*table.T[:4], table[:, 4].astype(bool))


def spread_of(image: np.ndarray) -> float:
    """The largest standard deviation of the three colours of (H,W,3), in levels."""
    return float(cv2.meanStdDev(image)[1].max())


def lost_objects(samples: TrainSamples, seen: Seen) -> Sign | None:
    """Most objects of a sample are outside of the view, or tiny."""
    before, after = int(seen.before.sum()), int(seen.after.sum())
    if after >= KEPT * before:
        return None
    return Sign(
        "lost_objects",
        found=f"of {before:,} objects in a sample of the training images, as the loader gives "
        f"them with augmentation {samples.augmentation.preset}, {after:,} are in view with a "
        f"side of {TINY:g} pixels or more",
        cause="The augmentation cuts most objects away, or makes them too small",
        advice=usual_strengths(samples, STEPS),
        image_ids=images_of(samples, seen, seen.after < seen.before),
    )


def blank_samples(samples: TrainSamples, seen: Seen) -> Sign | None:
    """Many samples are of nearly one colour, or have no object in view."""
    empty = seen.after == 0
    if seen.flat.mean() < FLAT_SHARE and empty.mean() < EMPTY_SHARE:
        return None
    return Sign(
        "blank_samples",
        found=f"of {len(empty)} sampled training images, as the loader gives them with "
        f"augmentation {samples.augmentation.preset}, {int(seen.flat.sum())} are of nearly one "
        f"colour, and {int(empty.sum())} have no object of {TINY:g} pixels or more in view",
        cause="Crops lie inside one object, or changes of colour leave little of the picture",
        advice=usual_strengths(samples, (*STEPS, "colours")),
        image_ids=images_of(samples, seen, seen.flat | empty),
    )


def images_of(samples: TrainSamples, seen: Seen, which: np.ndarray) -> tuple[int, ...]:
    """The first images of `which` (S,) samples; those of the first epoch, which the page shows."""
    first = which & (seen.epochs == 0)
    return first_ids(samples.annotations.image_ids[seen.rows[first if first.any() else which]])


def usual_strengths(samples: TrainSamples, steps: Sequence[str]) -> str:
    """Advice with the defaults of the strengths of some steps."""
    keys = [
        k for k, step in STRENGTHS.items() if step in steps and uses(samples.augmentation, step)
    ]
    usual = ", ".join(f"--{key}={list_of(checked_default(key))}" for key in keys)
    return f"weaken it; usual is {usual}" if usual else "choose another augmentation"


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


def changed_strengths(cfg) -> Iterator[tuple[str, str]]:
    """The keys of STRENGTHS that differ from their defaults, each with its step."""
    for name, step in STRENGTHS.items():
        if cfg[name] != checked_default(name):
            yield name, step


def describe_strengths(cfg) -> str:
    """The strengths that the preset uses and that differ: ", crop_scale [0.1, 0.2]"."""
    steps = PRESETS[cfg.augmentation]
    used = [name for name, step in changed_strengths(cfg) if getattr(steps, step)]
    return "".join(f", {name} {list_of(cfg[name])}" for name in used)


def idle_strengths(cfg) -> Iterator[Sign]:
    """A sign for each key that was changed and is of no step of the configured preset."""
    for name, step in changed_strengths(cfg):
        if not getattr(PRESETS[cfg.augmentation], step):
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
