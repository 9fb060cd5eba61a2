"""Multi-scale anchors: which boxes the network predicts, and in which order."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from src.detection.boxes import area

STRIDES = (8, 16, 32, 64, 128)  # of P3..P7


def level_shapes(
    image_size: tuple[int, int], strides: Sequence[int] = STRIDES
) -> list[tuple[int, int]]:
    """(rows, columns) of each level for an image of (height, width) pixels."""
    height, width = image_size
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]


def level_counts(image_size: tuple[int, int], total: int) -> list[int]:
    """How many of `total` anchors each level of an image of (height, width) pixels has."""
    cells = [rows * columns for rows, columns in level_shapes(image_size)]
    return [total * count // sum(cells) for count in cells]


class AnchorGenerator:
    """Anchors of every cell of every pyramid level.

    Order: level (finest first), row, column, then the anchors of the cell in the order of `sides`.
    A cell's anchors are centred at ((column + offset) * stride, (row + offset) * stride). They are
    not clipped.

    Args:
        strides: pixels between the cells of each level; a level has input / stride cells, rounded
            up.
        sides: for each level the (width, height) in pixels of a cell's anchors; the same number on
            every level, since the heads share their weights.
        offset: from a cell's upper left corner to the centre of its anchors, in strides.
        whole_strides: uses input // cells of a level as its stride, in x and in y, as torchvision
            does; smaller than the nominal stride where the cells were rounded up.
    """

    def __init__(
        self,
        *,
        strides: Sequence[int],
        sides: Sequence[Sequence[tuple[float, float]]],
        offset: float = 0.5,
        whole_strides: bool = False,
    ):
        if len(strides) != len(sides):
            raise ValueError(f"{len(strides)} strides but anchors for {len(sides)} levels")
        counts = [len(level) for level in sides]
        if len(set(counts)) > 1:
            raise ValueError(
                f"the levels have {counts} anchors a cell; heads that share their weights need the "
                "same number on each"
            )
        self.strides = tuple(strides)
        self.sides = tuple(np.asarray(level, np.float64) for level in sides)
        self.offset = offset
        self.whole_strides = whole_strides
        self.anchors_per_cell = counts[0]

    def boxes(self, image_size: tuple[int, int]) -> np.ndarray:
        """All anchors (A,4) float32 of an image of (height, width) pixels."""
        return np.concatenate(self.levels(image_size))

    def levels(self, image_size: tuple[int, int]) -> list[np.ndarray]:
        """The anchors (A_l,4) float32 of each level of an image of (height, width) pixels."""
        levels = []
        for stride, sides, (rows, columns) in self._grids(image_size):
            y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
            cells = np.stack([x, y], axis=-1)[:, :, None]  # (rows,columns,1,2)
            centres = (cells + self.offset) * stride
            corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)
            levels.append(corners.reshape(-1, 4).astype(np.float32))  # (A_l,4)
        return levels

    def _grids(
        self, image_size: tuple[int, int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
        """For each level the strides in x and y, the sides (B,2), and (rows, columns)."""
        shapes = level_shapes(image_size, self.strides)
        for stride, sides, (rows, columns) in zip(self.strides, self.sides, shapes):
            height, width = image_size
            pair = (width // columns, height // rows) if self.whole_strides else (stride, stride)
            yield np.array(pair, np.float32), sides, (rows, columns)

    def best_ious(self, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """The IoU (B,) of each box (B,4) with the anchor that fits it best.

        Of anchors of one shape the one whose centre is nearest in x and in y overlaps most, so
        only that one is compared: all of COCO takes seconds.
        """
        best = np.zeros(len(boxes), np.float32)
        centres, areas = (boxes[:, :2] + boxes[:, 2:]) / 2, area(boxes)
        for stride, sides, (rows, columns) in self._grids(image_size):
            cells = np.floor(centres / stride + (0.5 - self.offset))
            cells = np.clip(cells, 0, [columns - 1, rows - 1])
            nearest = (cells + self.offset) * stride
            for side in sides:
                half = side / 2
                overlap = np.minimum(boxes[:, 2:], nearest + half)
                overlap -= np.maximum(boxes[:, :2], nearest - half)
                shared = np.maximum(overlap, 0).prod(axis=1)
                np.maximum(best, shared / (areas + side.prod() - shared), out=best)
        return best

    def nearest(self, points: np.ndarray, image_size: tuple[int, int], count: int) -> np.ndarray:
        """Indices (P,M) of the anchors in the `count` cells of each level nearest to each point.

        Ties go to the first cell in the order of anchors; a level with fewer cells gives them all.
        Points are (P,2), x and y in pixels, inside the image or not.
        """
        strides, _, shapes = map(list, zip(*self._grids(image_size)))
        shapes = np.array(shapes)  # (L,2) rows, columns
        columns, sizes = shapes[:, 1], shapes.prod(axis=1)
        places = (points.astype(np.float64)[:, None] / np.array(strides))[:, :, ::-1]
        places = places - self.offset  # (P,L,2) row, column, as fractions
        # the nearest cells are among the nearest `count` rows and `count` columns
        first = np.clip(np.ceil(places - count / 2), 0, np.maximum(shapes - count, 0))
        cells = first[..., None] + np.arange(count)  # (P,L,2,count)
        squares = np.where(cells < shapes[..., None], (cells - places[..., None]) ** 2, np.inf)
        distances = squares[:, :, 0, :, None] + squares[:, :, 1, None]  # (P,L,count,count)
        order = distances.reshape(*distances.shape[:2], count**2).argsort(axis=2, kind="stable")
        row, column = np.divmod(order[:, :, :count], count)  # (P,L,count) within the window
        first = first.astype(np.int64)
        row, column = row + first[:, :, :1], column + first[:, :, 1:]
        starts = np.cumsum(sizes) - sizes  # first cell of each level
        found = starts[:, None] + row * columns[:, None] + column
        found = found[:, np.arange(count) < sizes[:, None]]  # (P,cells)
        per_cell = self.anchors_per_cell
        anchors = found[:, :, None] * per_cell + np.arange(per_cell)  # (P,cells,per_cell)
        return anchors.reshape(len(points), found.shape[1] * per_cell)


def octave_sides(
    *,
    strides: Sequence[int],
    size: float,
    scales_per_octave: int,
    aspect_ratios: Sequence[float],
    whole: bool = False,
) -> list[list[tuple[float, float]]]:
    """Anchor sides of RetinaNet and TF's multi-scale generator.

    Each level's anchors have the area (size * stride * 2^(i / scales_per_octave))^2 for
    i = 0..scales_per_octave-1, at each aspect ratio (width / height). With `whole` the sizes are
    truncated and half sides are rounded to whole pixels, as in torchvision.
    """
    levels = []
    for stride in strides:
        sizes = [size * stride * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        sizes = map(int, sizes) if whole else sizes
        sides = [(s * math.sqrt(r), s / math.sqrt(r)) for s in sizes for r in aspect_ratios]
        if whole:
            sides = [(2 * round(width / 2), 2 * round(height / 2)) for width, height in sides]
        levels.append(sides)
    return levels


def ssd_sides(
    *,
    image_size: tuple[int, int],
    min_scale: float,
    max_scale: float,
    aspect_ratios: Sequence[Sequence[float]],
) -> list[list[tuple[float, float]]]:
    """Anchor sides of the SSD paper (Liu et al., 2016, section 2.2).

    Scales rise linearly from min_scale to max_scale of the image over the levels. A level has a
    square of its scale, one of the geometric mean of its scale and the next (the last one's next
    is 1), and for each of its `aspect_ratios` r an anchor of ratio r and one of ratio 1 / r.
    """
    height, width = image_size
    scales = [*np.linspace(min_scale, max_scale, len(aspect_ratios)), 1.0]
    levels = []
    for scale, following, ratios in zip(scales, scales[1:], aspect_ratios):
        between = math.sqrt(scale * following)
        level = [(scale, scale), (between, between)]
        for ratio in ratios:
            long, short = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            level += [(long, short), (short, long)]
        levels.append([(w * width, h * height) for w, h in level])
    return levels


def build_anchors(cfg) -> AnchorGenerator:
    """The generator that the configuration asks for."""
    if cfg.anchors == "ssd":
        sides = ssd_sides(
            image_size=cfg.image_size,
            min_scale=cfg.ssd_min_scale,
            max_scale=cfg.ssd_max_scale,
            aspect_ratios=cfg.ssd_aspect_ratios,
        )
    else:
        sides = octave_sides(
            strides=STRIDES,
            size=cfg.anchor_size,
            scales_per_octave=cfg.scales_per_octave,
            aspect_ratios=cfg.aspect_ratios,
            whole=cfg.anchor_pixels == "whole",
        )
    return AnchorGenerator(
        strides=STRIDES,
        sides=sides,
        offset=cfg.anchor_offset,
        whole_strides=cfg.anchor_pixels == "whole",
    )
