"""Which signs are looked for at which stage of reading a data set, and which explain others."""

from dataclasses import replace

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.signs.boxes import box_sign
from src.data.signs.classes import alike_classes
from src.data.signs.empty import empty_images
from src.data.signs.given_boxes import GivenBoxes
from src.data.signs.headers import orientation_sign
from src.data.signs.overlaps import overlap_signs
from src.data.signs.sign import Sign, those_found
from src.data.signs.split import no_objects, same_file, unused_classes

TURN_EXPLAINS = ("swapped_axes", "box_format", "outside")  # signs that turned images lead to
MOSTLY = 0.5  # share of a sign's images that are turned, for that to explain it


def signs_as_read(given: GivenBoxes, annotations: Annotations) -> tuple[Sign, ...]:
    """What is suspicious about the boxes, before and after the repairs, and about the files."""
    of_boxes = box_sign(given)
    is_certain = of_boxes is not None and of_boxes.certain
    overlaps = () if is_certain else overlap_signs(annotations)  # wrong boxes overlap by chance
    return those_found(of_boxes, *overlaps, same_file(annotations))


def cheap_signs(
    cfg: Config, annotations: Annotations, *, training: bool, headers: int | None
) -> tuple[Sign, ...]:
    """What is suspicious about a split, as far as no image need be decoded.

    Args:
        headers: images whose header is read; None reads all.
    """
    found = annotations.signs
    explained = [sign for sign in found if sign.name in TURN_EXPLAINS]
    own = [sign for sign in explained if not of_turned(sign, annotations)]
    if any(sign.certain for sign in own):  # their boxes tell nothing of turns
        annotations = replace(annotations, turned=())
    turned = orientation_sign(annotations, sample=headers)
    if turned and turned.certain:  # exchanged sides are its doing
        found = tuple(sign for sign in found if sign in own or sign not in explained)
    if not training:
        return those_found(*found, turned, no_objects(annotations))
    names = cfg.classes[1:]
    return those_found(
        *found,
        turned,
        unused_classes(annotations, names),
        alike_classes(names),
        empty_images(annotations),
    )


def of_turned(sign: Sign, annotations: Annotations) -> bool:
    """Whether most of a sign's images are among those whose boxes fit only the turned picture."""
    return bool(np.isin(sign.image_ids, annotations.turned).mean() >= MOSTLY)
