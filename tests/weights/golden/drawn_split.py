"""Pictures for which detections of another program are kept, the same with and without it."""

import numpy as np

try:
    from tests.weights.golden.formula import uniform
except ImportError:  # as a script beside formula.py
    from formula import uniform

SHORT, LONG = 160, 224  # pixels of the sides that pictures are resized to, at most
# height and width; they go on three canvases of multiples of 32
SIZES = (
    (240, 320), (200, 301), (150, 213), (331, 240), (99, 75), (100, 260), (64, 160), (320, 247),
    (213, 290), (410, 300), (70, 171), (256, 341),
)  # fmt: skip


def drawing(number: int) -> np.ndarray:
    """Picture `number`, (H,W,3) uint8 RGB: rectangles and discs on a gradient, with noise."""
    height, width = SIZES[number]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([x * 200 / width, y * 200 / height, 99 + 0 * x], axis=-1)
    for index in range(10):
        draw = (uniform(f"drawing {number}.{index}", (8,)) + 1) / 2
        middle, radii = draw[:2] * [height, width], (draw[2:4] * 0.3 + 0.05) * [height, width]
        down, right = np.abs(y - middle[0]) / radii[0], np.abs(x - middle[1]) / radii[1]
        inside = down**2 + right**2 < 1 if draw[4] < 0.5 else np.maximum(down, right) < 1
        image[inside] = draw[5:] * 255
    image += 12 * uniform(f"noise of drawing {number}", image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)
