"""Tiles of a large image, in which its small objects are found at their own size.

Source: slicing aided hyper inference (Akyon et al., 2022).
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from src.detection.postprocess import Detections

MANY_TILES = 1000  # a ResNet-50 at 640 px takes a quarter of an hour for them on a CPU
CUT_SHARE = 0.2  # of a box's side: one that ends so near a tile's edge may be a part of an object


@dataclass(frozen=True)
class Tiling:
    """Which windows of an image the network sees.

    Attributes:
        height, width: of a tile, in pixels of the image; 0 for no tiles.
        overlap: least share of a tile that its neighbour has too.
    """

    height: int = 0
    width: int = 0
    overlap: float = 0.0

    def windows(self, width: int, height: int) -> np.ndarray:
        """(T,4) int64: the whole image, and its tiles row by row unless it fits into one."""
        whole = np.array([[0, 0, width, height]])
        if self.fits(width, height):
            return whole
        x1, y1 = np.meshgrid(
            starts(width, self.width, self.overlap), starts(height, self.height, self.overlap)
        )
        x2, y2 = np.minimum(x1 + self.width, width), np.minimum(y1 + self.height, height)
        return np.concatenate([whole, np.stack([x1, y1, x2, y2], axis=-1).reshape(-1, 4)])

    def fits(self, width: int, height: int) -> bool:
        """Whether an image is no larger than a tile, or there are no tiles."""
        return not self.width or (width <= self.width and height <= self.height)

    def in_image(self, found: Detections, window: np.ndarray, size: np.ndarray) -> Detections:
        """`in_whole_image`; those in the whole image without objects that some tile has whole.

        That shows them larger, and the two boxes often differ too much to suppress each other.
        """
        found = in_whole_image(found, window, size)
        if self.fits(*size) or (window[2:] - window[:2] < size).any():
            return found
        least = self.overlap / (1 + 2 * CUT_SHARE) * np.array([self.width, self.height])
        return found.take((found.boxes[:, 2:] - found.boxes[:, :2] >= least).any(axis=1))


def describe_tiles(tiling: Tiling, sizes: np.ndarray) -> str:
    """How many tiles the images of a split have, as text; `sizes` (I,2) are width and height."""
    different, counts = np.unique(sizes, axis=0, return_counts=True)
    views = np.array([len(tiling.windows(*size)) for size in different.tolist()])
    total, without = int((views * counts).sum()), int(counts[views == 1].sum())
    size, times = f"{tiling.width} x {tiling.height} pixels", total / len(sizes)
    small = f"; {without:,} of {len(sizes):,} images are no larger than a tile" if without else ""
    return f"{total - len(sizes):,} tiles of {size} too: {times:.1f} times the work{small}"


def starts(side: int, tile: int, overlap: float) -> np.ndarray:
    """(n,) first pixels of the fewest tiles that cover a side, evenly spaced."""
    if side <= tile:
        return np.zeros(1, np.int64)
    most = max(tile - math.ceil(tile * overlap), 1)
    count = math.ceil((side - tile) / most) + 1
    return np.linspace(0, side - tile, count).round().astype(np.int64)


def in_whole_image(found: Detections, window: np.ndarray, size: np.ndarray) -> Detections:
    """Detections in a window of an image, in the image's pixels, without those that it cuts.

    A box that ends near an edge of the window inside the image may be a part of an object. Objects
    shorter than overlap / (1 + 2 CUT_SHARE) are whole in some window, larger ones in the view of
    the whole image.

    Args:
        found: in pixels of the window.
        window: (4,) its corners.
        size: (2,) the image's width and height.
    """
    boxes = found.boxes + np.tile(window[:2], 2).astype(np.float32)
    margin = CUT_SHARE * (boxes[:, 2:] - boxes[:, :2])
    cut = (boxes[:, :2] < window[:2] + margin) & (window[:2] > 0)  # (D,2)
    cut |= (boxes[:, 2:] > window[2:] - margin) & (window[2:] < size)
    return replace(found, boxes=boxes).take(~cut.any(axis=1))


def build_tiling(cfg) -> Tiling:
    """The configured tiles: `tiles` is the longer side, and the shape is that of the input."""
    longest = max(cfg.image_size)
    height, width = (math.ceil(cfg.tiles * side / longest) for side in cfg.image_size)
    return Tiling(height, width, cfg.tile_overlap)
