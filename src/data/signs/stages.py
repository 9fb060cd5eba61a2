"""Which signs are looked for at which stage of reading a data set, and which explain others."""

from dataclasses import replace

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.signs.boxes import box_sign
from src.data.signs.classes import absent_class, alike_classes, swapped_classes
from src.data.signs.contents import equal_images
from src.data.signs.empty import mostly_empty, unannotated_block, unlike_empty
from src.data.signs.given_boxes import GivenBoxes
from src.data.signs.headers import orientation_sign
from src.data.signs.overlaps import overlap_signs
from src.data.signs.pixels import flat_images, pixel_range
from src.data.signs.sign import Sign, those_found
from src.data.signs.split import equal_boxes, few_images, no_objects, same_file, unused_classes

TURN_EXPLAINS = ("swapped_axes", "box_format", "outside")  # where images are turned
MOSTLY = 0.5  # of a sign's images, for a turn to explain it


def signs_as_read(given: GivenBoxes, annotations: Annotations) -> tuple[Sign, ...]:
    """What is suspicious about the boxes, before and after the repairs, and about the files."""
    of_boxes = box_sign(given)
    found = those_found(*annotations.signs, of_boxes)
    is_certain = any(sign.certain for sign in found)
    few = few_images(annotations)
    return those_found(
        # boxes of other images may leave these
        *(sign for sign in found if not (few and sign.name == "outside")),
        equal_boxes(annotations),
        *(() if is_certain else overlap_signs(annotations)),
        few or unannotated_block(annotations),
        same_file(annotations),
    )


def cheap_signs(
    cfg: Config, annotations: Annotations, *, training: bool, headers: int | None
) -> list[Sign]:
    """What is suspicious about a split, as far as no image need be decoded.

    Args:
        headers: images whose header is read; None reads all.
    """
    found = list(annotations.signs)
    explained = [sign for sign in found if sign.name in TURN_EXPLAINS]
    own = [sign for sign in explained if not of_turned(sign, annotations)]
    if any(sign.certain for sign in own):  # their boxes tell nothing of turns
        annotations = replace(annotations, turned=())
    turned = orientation_sign(annotations, sample=headers)
    if turned and turned.certain:  # exchanged sides are its doing
        found = [sign for sign in found if sign in own or sign not in explained]
    found += those_found(turned)
    if not training:
        return [*found, *those_found(no_objects(annotations))]
    names = cfg.classes[1:]
    found += those_found(unused_classes(annotations, names), alike_classes(names))
    is_alone = cfg.val_share or not cfg.eval_interval
    if is_alone and not any(sign.name in ("few_images", "empty_images") for sign in found):
        found += those_found(mostly_empty(annotations))
    return found


def of_turned(sign: Sign, annotations: Annotations) -> bool:
    """Whether most of a sign's images are among those whose boxes fit only the turned picture."""
    return bool(np.isin(sign.image_ids, annotations.turned).mean() >= MOSTLY)


def signs_of_images(annotations: Annotations, levels: np.ndarray) -> tuple[Sign, ...]:
    """What is suspicious about the files' content; `levels` (I,2) as of `pixel_range`."""
    of_pixels = flat_images(annotations, levels) or pixel_range(annotations, levels)
    return those_found(of_pixels, equal_images(annotations))


def between_signs(cfg: Config, training: Annotations, evaluation: Annotations) -> tuple[Sign, ...]:
    """What is suspicious about the objects in one split by those in the other."""
    names = cfg.classes[1:]
    is_told = any(sign.name == "empty_images" for sign in training.signs)
    # where images without objects are left out, or shared out, the splits are alike
    is_alike = not cfg.keep_empty or cfg.val_share
    return those_found(
        absent_class(training, evaluation, names),
        swapped_classes(training, evaluation, names),
        None if is_alike or is_told else unlike_empty(training, evaluation),
    )
