"""Random changes of an image's colours."""

import math
from dataclasses import replace

import cv2
import numpy as np

from src.data.transforms import Sample

# ITU-R BT.601: luma, and the two axes of colour around it, of red, green and blue
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
GREY_WEIGHTS = TO_YIQ[0]
MEAN_ROWS = 4  # the mean colour is that of every fourth row: near enough, four times as fast


def photometric(
    sample: Sample, rng: np.random.Generator, *, strength: float, hue: float = 0.0
) -> Sample:
    """Brightness, contrast and saturation each scaled by 1 +- `strength`, in random order.

    Then the hue is turned by up to `hue` of a full turn, either way. Each of these is an affine map
    of a pixel's colour, so they are multiplied into one map: one pass over the image, which clips
    colours to 0..255 once.
    """
    if not strength and not hue:
        return sample
    colour = np.eye(3, 4)  # new colour = colour[:, :3] @ old colour + colour[:, 3]
    if strength:
        mean = cv2.mean(sample.image[::MEAN_ROWS])[:3]
        for change in rng.permutation(3):
            factor = rng.uniform(1 - strength, 1 + strength)
            colour = changed(colour, change, factor, mean)
    if hue:
        colour = hue_turn(rng.uniform(-hue, hue)) @ colour
    return replace(sample, image=cv2.transform(sample.image, colour))


def changed(colour: np.ndarray, change: int, factor: float, mean: tuple) -> np.ndarray:
    """The map (3,4) with brightness (0), contrast (1) or saturation (2) scaled by a factor.

    Args:
        mean: colour of the image before the map.
    """
    if change == 2:  # away from, or to, the pixel's own grey
        return factor * colour + (1 - factor) * (GREY_WEIGHTS @ colour)
    grey = GREY_WEIGHTS @ (colour[:, :3] @ mean + colour[:, 3])
    colour = factor * colour
    if change == 1:  # away from, or to, the image's mean grey
        colour[:, 3] += (1 - factor) * grey
    return colour


def hue_turn(turn: float) -> np.ndarray:
    """The map (3,3) of red, green and blue that turns colours around grey, luma unchanged.

    It rotates the plane of colour in YIQ by a share of a full turn, from red to green if positive.
    """
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return np.linalg.inv(TO_YIQ) @ rotation @ TO_YIQ
