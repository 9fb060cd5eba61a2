"""Weights and pictures for detectors, the same with and without PyTorch."""

import zlib

import numpy as np

try:
    from tests.weights.golden.formula import uniform, weight
except ImportError:  # as a script beside formula.py
    from formula import uniform, weight

SMALL = np.float32(0.01)  # of a backbone's activations before norms, so that their epsilon matters
CLASS_BIAS, CLASS_SPREAD, BOX_SPREAD = -5.0, 1.5, 0.3  # many scores around 0.05, boxes near anchors
ANCHORS, ROWS, UNNAMED = 9, 91, (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
NEVER = -30.0
SINGLE = ("atss_cls.weight", "gfl_cls.weight", "atss_cls.bias", "gfl_cls.bias")
MIN_SIDE, MAX_SIDE = 160, 224
SIDES = ((150, 213), (231, 167), (203, 199))  # height and width of the pictures
SAMPLES = 200  # places of each tensor that are kept


def detector_weights(shapes: dict) -> dict[str, np.ndarray]:
    """A state dict of torchvision's or mmdetection's names and shapes."""
    arrays = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.zeros(shape, np.int64)
            continue
        array = weight(name, tuple(shape))
        in_body = name.startswith("backbone.") and ".fpn." not in name
        if name.endswith(".scale"):
            array = np.float32(1) + uniform(name, shape) / 2
        elif in_body and (array.ndim == 4 or name.endswith("running_mean")):
            array = array * SMALL
        elif name.endswith("running_var"):
            array = array * SMALL**2
        elif name.endswith(SINGLE):  # of heads with few anchors, and small outputs
            array = 3 * array if array.ndim == 4 else array - np.float32(3.5)
        elif name.endswith(("_cls.weight", "cls_logits.weight")):
            array = array * np.float32(CLASS_SPREAD)
        elif name.endswith(("_cls.bias", "cls_logits.bias")):
            array = array + np.float32(CLASS_BIAS)
            if len(array) == ANCHORS * ROWS:  # by category id: those without a name find nothing
                array.reshape(ANCHORS, ROWS)[:, UNNAMED] = NEVER
        elif name.endswith(("_reg.weight", "bbox_reg.weight")):
            array = array * np.float32(BOX_SPREAD)
        arrays[name] = array
    return arrays


def picture(number: int) -> np.ndarray:
    """(H,W,3) uint8 RGB: rectangles over a gradient, with noise."""
    height, width = SIDES[number]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=-1)
    for index in range(8):
        top, left, tall, wide, *colour = (uniform(f"{number}.{index}", (7,)) + 1) / 2
        rows = slice(int(top * height), int((top + tall / 2) * height) + 8)
        columns = slice(int(left * width), int((left + wide / 2) * width) + 8)
        image[rows, columns] = np.array(colour) * 255
    image += 20 * uniform(f"noise {number}", image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def places(name: str, size: int) -> np.ndarray:
    """Indices of the numbers of a tensor that are kept."""
    raw = np.random.PCG64(zlib.crc32(f"places {name}".encode())).random_raw(SAMPLES)
    return (raw % np.uint64(size)).astype(np.int64)


def sampled(name: str, tensor: np.ndarray) -> np.ndarray:
    """(SAMPLES,) of the tensor's numbers."""
    return tensor.ravel()[places(name, tensor.size)]


def resized(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The image (H,W,3) as float32, bilinearly scaled as torchvision does, and the factor.

    The factor is the short side's to MIN_SIDE, or the long side's to MAX_SIDE if that is less.
    Pixels' centres are at halves; places outside of them take the nearest pixel.
    """
    sides = image.shape[:2]
    factor = min(MIN_SIDE / min(sides), MAX_SIDE / max(sides))
    found = image.astype(np.float64)
    for axis, side in enumerate(sides):
        new = int(side * factor)
        places = np.clip((np.arange(new) + 0.5) * side / new - 0.5, 0, side - 1)
        low = np.minimum(places.astype(int), side - 2)
        share = (places - low).reshape(-1, *[1] * (2 - axis))
        found = np.take(found, low, axis) * (1 - share) + np.take(found, low + 1, axis) * share
    return found.astype(np.float32), factor


def canvas(image: np.ndarray, fill: tuple, sides: tuple[int, int]) -> np.ndarray:
    """The image at the top left of a canvas of (height, width), the rest filled."""
    found = np.empty((*sides, 3), np.float32)
    found[:] = fill
    found[: image.shape[0], : image.shape[1]] = image
    return found
