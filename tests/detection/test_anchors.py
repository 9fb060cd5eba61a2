import math

import numpy as np
import pytest

from src.config.configuration import make_config
from src.detection.anchors import (
    STRIDES,
    AnchorGenerator,
    build_anchors,
    level_shapes,
    octave_sides,
    ssd_sides,
)
from tests.references import slow_iou, slow_nearest


def test_base_recipe_has_51150_boxes_at_640():
    generator = build_anchors(make_config([]))
    boxes = generator.boxes((640, 640))
    assert boxes.shape == (51150, 4)
    assert boxes.dtype == np.float32
    assert generator.anchors_per_cell == 6
    assert level_shapes((640, 640)) == [(80, 80), (40, 40), (20, 20), (10, 10), (5, 5)]


def test_literal_first_and_last_boxes():
    boxes = build_anchors(make_config([])).boxes((640, 640))
    assert boxes[0].tolist() == [-12, -12, 20, 20]  # 32 px at (4, 4)
    wide = 32 * math.sqrt(2)
    np.testing.assert_allclose(
        boxes[1], [4 - wide / 2, 4 - wide / 4, 4 + wide / 2, 4 + wide / 4], rtol=1e-6
    )
    assert boxes[6].tolist() == [-4, -12, 28, 20]  # next column: x before y
    assert boxes[6 * 80].tolist() == [-12, -4, 20, 28]  # next row
    # the last cell of P7 is centred at 4.5 * 128
    centre = (boxes[-1, :2] + boxes[-1, 2:]) / 2
    np.testing.assert_allclose(centre, [576, 576], rtol=1e-6)


def test_all_boxes_equal_plain_python():
    sides = octave_sides(strides=STRIDES, size=3, scales_per_octave=3, aspect_ratios=(1, 2, 0.5))
    boxes = AnchorGenerator(strides=STRIDES, sides=sides).boxes((96, 160))
    expected = []
    for stride in (8, 16, 32, 64, 128):
        for row in range(math.ceil(96 / stride)):
            for column in range(math.ceil(160 / stride)):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                for octave in range(3):
                    area = (3 * stride * 2 ** (octave / 3)) ** 2
                    for ratio in (1, 2, 0.5):
                        h = math.sqrt(area / ratio)
                        w = area / h
                        expected.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    np.testing.assert_allclose(boxes, expected, rtol=1e-5, atol=1e-4)


def test_offset_moves_all_anchors_alike():
    middle, corner = (build_anchors(make_config([({"anchor_offset": o}, "")])) for o in (0.5, 0.0))
    # 32 px at (0, 0); the last cell of P7 at 4 * 128
    assert corner.boxes((640, 640))[0].tolist() == [-16, -16, 16, 16]
    last = corner.boxes((640, 640))[-1]
    np.testing.assert_allclose((last[:2] + last[2:]) / 2, [512, 512], rtol=1e-6)
    for stride, moved, boxes in zip(STRIDES, corner.levels((64, 96)), middle.levels((64, 96))):
        np.testing.assert_allclose(moved, boxes - stride / 2, atol=1e-4)


# of torchvision's RetinaNet; aspect ratios are width / height, torchvision's height / width
TORCHVISION = {
    "anchor_size": 4.0, "scales_per_octave": 3, "aspect_ratios": [2.0, 1.0, 0.5],
    "anchor_offset": 0.0, "anchor_pixels": "whole",
}  # fmt: skip


def test_whole_pixels_are_those_of_torchvision():
    """Sides as torchvision 0.29 lists them for P3 and P7, and its strides of 800 x 1088 pixels."""
    anchors = build_anchors(make_config([(TORCHVISION, "")]))
    p3 = [(46, 22), (32, 32), (22, 46), (56, 28), (40, 40), (28, 56), (70, 36), (50, 50), (36, 70)]
    assert anchors.sides[0].tolist() == [list(side) for side in p3]
    p7 = [(724, 362), (512, 512), (362, 724), (912, 456), (644, 644), (456, 912), (1148, 574),
          (812, 812), (574, 1148)]  # fmt: skip
    assert anchors.sides[-1].tolist() == [list(side) for side in p7]
    found = anchors.levels((800, 1088))
    for level, (x, y), columns in zip(found[-2:], [(64, 61), (120, 114)], [17, 9]):
        assert level[9].tolist() == (level[0] + [x, 0, x, 0]).tolist()
        assert level[9 * columns].tolist() == (level[0] + [0, y, 0, y]).tolist()
    assert anchors.levels((800, 1088))[0][0].tolist() == [-23, -11, 23, 11]


@pytest.mark.parametrize(
    "keys", [*({"anchor_offset": o} for o in (0.0, 0.2, 0.5, 1.0)), TORCHVISION]
)
def test_best_ious_are_those_of_all_anchors(keys):
    anchors = build_anchors(make_config([(keys, "")]))
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-10, 74, (40, 2, 2)), axis=1)
    boxes = np.concatenate([corners[:, 0], corners[:, 1]], axis=1).astype(np.float32)
    everything = anchors.boxes((64, 96)).tolist()
    expected = [max(slow_iou(box, anchor) for anchor in everything) for box in boxes.tolist()]
    np.testing.assert_allclose(anchors.best_ious(boxes, (64, 96)), expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 9, 25])
@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("image_size", [(64, 64), (96, 352), (320, 32)])
def test_nearest_anchors_are_those_of_all_cells_sorted(count, offset, image_size):
    sides = [[(8, 8), (16, 8)]] * len(STRIDES)
    generator = AnchorGenerator(strides=STRIDES, sides=sides, offset=offset)
    rng = np.random.default_rng(count)
    anywhere = rng.uniform(-60, 400, (20, 2))
    tied = rng.integers(-2, 24, (20, 2)) * 4.0  # on centres, edges and corners of cells
    points = np.concatenate([anywhere, tied, [[-1e4, 20], [30, 1e4]]]).astype(np.float32)
    found = generator.nearest(points, image_size, count)
    for point, row in zip(points.tolist(), found.tolist()):
        assert row == slow_nearest(point, image_size, count, per_cell=2, offset=offset)


def test_nearest_of_no_points():
    # 6 anchors of 9, 9, 4, 1 and 1 cells
    found = build_anchors(make_config([])).nearest(np.zeros((0, 2)), (64, 64), 9)
    assert found.shape == (0, 6 * (9 + 9 + 4 + 1 + 1))


def test_sides_that_are_no_multiple_of_a_stride_round_up():
    assert level_shapes((96, 352)) == [(12, 44), (6, 22), (3, 11), (2, 6), (1, 3)]


def test_ssd_paper_scales():
    sides = ssd_sides(
        image_size=(200, 100), min_scale=0.2, max_scale=0.95, aspect_ratios=[[2.0, 3.0]] * 4
    )
    assert [len(level) for level in sides] == [6] * 4
    assert sides[0][0] == pytest.approx((20, 40))  # 0.2 of 100 wide and 200 high
    between = math.sqrt(0.2 * 0.45)
    assert sides[0][1] == pytest.approx((between * 100, between * 200))
    assert sides[0][2] == pytest.approx((0.2 * math.sqrt(2) * 100, 0.2 / math.sqrt(2) * 200))
    assert sides[0][5] == pytest.approx((0.2 / math.sqrt(3) * 100, 0.2 * math.sqrt(3) * 200))
    assert sides[3][0] == pytest.approx((95, 190))
    assert sides[3][1] == pytest.approx((math.sqrt(0.95) * 100, math.sqrt(0.95) * 200))


def test_ssd_generator_by_configuration():
    cfg = make_config([({"anchors": "ssd", "image_size": [320, 320]}, "test")])
    generator = build_anchors(cfg)
    assert generator.boxes((320, 320)).shape == (6 * (1600 + 400 + 100 + 25 + 9), 4)


def test_levels_must_have_as_many_boxes():
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        AnchorGenerator(strides=(8, 16), sides=[[(8, 8)], [(8, 8), (9, 9)]])
