"""Signs of boxes by another point, of corners in any order, and at one side of their images."""

import numpy as np
import pytest

from src.data.signs.boxes import box_sign
from src.data.signs.given_boxes import CENTRES, CORNERS, SIDES, Form, GivenBoxes

WIDTH, HEIGHT = 640, 480
# x1, y1, x2, y2 of two boxes in each of twelve images, at all sides of them
SOUND = np.array(
    [
        [0, 20, 110, 90], [400, 300, 600, 470], [30, 200, 90, 460], [500, 10, 630, 120],
        [300, 0, 420, 60], [0, 350, 200, 480], [250, 240, 640, 400], [60, 60, 100, 110],
        [510, 400, 560, 480], [5, 5, 25, 35], [330, 210, 350, 236], [590, 100, 640, 300],
        [100, 380, 300, 478], [560, 420, 638, 460], [4, 100, 90, 170], [200, 2, 330, 50],
        [220, 300, 420, 476], [600, 5, 636, 60], [8, 210, 50, 300], [450, 1, 520, 40],
        [50, 440, 160, 480], [610, 200, 640, 260], [2, 400, 70, 470], [350, 3, 400, 90],
    ],
    float,
)  # fmt: skip
X1Y1WH = np.hstack([SOUND[:, :2], SOUND[:, 2:] - SOUND[:, :2]])


def only(corners, layout=SIDES):
    """The sign of boxes, if there is one."""
    corners = np.asarray(corners, float)
    boxes = GivenBoxes(
        corners=corners,
        limits=np.tile((WIDTH, HEIGHT), (len(corners), 1)),
        image_ids=np.arange(len(corners)) // 2,
        where="box {}".format,
        form=Form(layout),
    )
    return box_sign(boxes)


def by_sides(x, y, w, h):
    """Corners that a reader of x, y, width, height makes."""
    return np.stack([x, y, x + w, y + h], axis=1)


@pytest.mark.parametrize(
    ("move", "point"),
    [
        ((1, 1), "x, y of the lower right corner"),
        ((1, 0), "x, y of the upper right corner"),
        ((0, 1), "x, y of the lower left corner"),
        ((0.5, 1), "x, y of the middle of the lower side"),
        ((-0.5, -0.5), "x, y lowered by half of width and height"),
    ],
)
def test_x_and_y_of_another_point(move, point):
    x, y, w, h = np.tile(X1Y1WH, (2, 1)).T
    sign = only(by_sides(x + move[0] * w, y + move[1] * h, w, h))
    assert (sign.name, sign.certain) == ("box_format", True)
    assert f"none if read as {point}" in sign.found
    assert sign.advice == "write x, y, width and height"


def test_y_counted_from_below():
    x, y, w, h = X1Y1WH.T
    sign = only(by_sides(x, HEIGHT - y, w, h))
    assert "y counted from below" in sign.cause


@pytest.mark.parametrize("layout", [SIDES, CORNERS, CENTRES])
@pytest.mark.parametrize("step", [1, 2])
def test_corners_in_any_order(layout, step):
    corners = SOUND.copy()
    corners[::step] = corners[::step][:, [2, 3, 0, 1]]
    sign = only(corners, layout)
    assert (sign.name, sign.certain) == ("box_format", True)
    assert "none if read as corners in any order, or negative width and height" in sign.found


def test_y_before_x_in_a_part():
    sign = only(np.vstack([SOUND[:, [1, 0, 3, 2]], SOUND]))
    assert (sign.name, sign.certain) == ("swapped_axes", False)
    assert "a part of the records has y before x" in sign.cause


def test_boxes_that_leave_at_one_side_alone():
    x, y, w, h = X1Y1WH.T
    sign = only(by_sides(x, y, 2 * w, 2 * h))
    assert (sign.name, sign.certain) == ("one_side", False)
    assert "boxes are partly outside of the image at the right or below, and 0 at" in sign.found
    assert only(by_sides(x, y, w + 1.5, h + 1.5)) is None  # rounding
    cut_off = by_sides(x - 0.2 * w, y - 0.2 * h, 1.4 * w, 1.4 * h)
    assert only(cut_off) is None


def test_boxes_without_area_have_not_been_resized():
    corners = SOUND.copy()
    corners[:8, 2] = corners[:8, 0]
    sign = only(corners)
    assert (sign.name, sign.certain) == ("outside", True)
    assert sign.found == "8 of 24 boxes are without area (box 0: 0, 20, 0, 70)"
    assert "Probably points or placeholders" in sign.cause


def test_a_tenth_in_shares_is_an_error():
    shares = SOUND / [WIDTH, HEIGHT, WIDTH, HEIGHT]
    sign = only(np.vstack([SOUND[:21], shares[21:]]))
    assert (sign.name, sign.certain) == ("shares", True)
    sign = only(np.vstack([SOUND[:22], shares[22:]]))
    assert (sign.name, sign.certain) == ("shares", False)
    nothing = np.vstack([SOUND[:12], np.zeros((12, 4))])  # placeholders are no shares
    assert only(nothing).name == "outside"
