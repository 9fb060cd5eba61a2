"""Signs of boxes in other units or orders, and none on sound boxes."""

from dataclasses import replace

import numpy as np
import pytest

from src.data.signs.boxes import box_sign, turned_images
from src.data.signs.given_boxes import CENTRES, CORNERS, SIDES, Form, GivenBoxes

WIDTH, HEIGHT = 640, 480
# x1, y1, x2, y2 of two boxes in each of six images
SOUND = np.array(
    [
        [10, 20, 110, 90], [400, 300, 600, 470], [30, 200, 90, 460], [500, 10, 630, 120],
        [300, 5, 420, 60], [0, 350, 200, 480], [250, 240, 640, 400], [60, 60, 100, 110],
        [510, 400, 560, 450], [5, 5, 25, 35], [330, 210, 350, 236], [590, 100, 636, 300],
    ],
    float,
)  # fmt: skip
OWNERS = np.repeat(np.arange(6), 2)


def given(corners, *, has_sides=False, size=(WIDTH, HEIGHT), owners=OWNERS, first_pixel=0):
    corners = np.asarray(corners, float)
    return GivenBoxes(
        corners=corners,
        limits=np.tile(size, (len(corners), 1)),
        image_ids=np.asarray(owners)[: len(corners)] + 1,
        where="box {}".format,
        form=Form(SIDES if has_sides else CORNERS, first_pixel=first_pixel),
    )


def sides(corners):
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def centres(corners):
    return np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])


def read_as_sides(numbers):
    """The corners that a reader of x, y, width, height makes of four numbers."""
    return np.hstack([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]])


SHARES = SOUND / [WIDTH, HEIGHT, WIDTH, HEIGHT]


@pytest.mark.parametrize("has_sides", [False, True])
def test_sound_boxes_have_no_sign(has_sides):
    assert box_sign(given(SOUND, has_sides=has_sides)) is None
    assert box_sign(given(SOUND[:1], has_sides=has_sides)) is None
    assert box_sign(given(np.zeros((0, 4)))) is None


@pytest.mark.parametrize(
    ("numbers", "order"),
    [
        (SHARES, "two corners"),
        (sides(SHARES), "x, y, width and height"),
        (centres(SHARES), "centre, width and height"),
    ],
)
def test_shares(numbers, order):
    for boxes in (given(numbers), given(read_as_sides(numbers), has_sides=True)):
        sign = box_sign(boxes)
        assert (sign.name, sign.certain) == ("shares", True)
        assert "all 12 boxes are within 0 and 1 (box 0: " in sign.found
        assert order in sign.cause
    assert "--accept=[shares]" in str(sign)


def test_shares_in_a_format_that_counts_from_one():
    shifted = SHARES - [1, 1, 0, 0]
    sign = box_sign(given(shifted, first_pixel=1))
    assert sign.name == "shares"
    assert "box 0: 0.015625, 0.0416667, 0.171875, 0.1875" in sign.found


def test_some_shares_are_a_warning():
    mixed = np.vstack([SOUND[:10], SHARES[10:]])
    sign = box_sign(given(mixed))
    assert (sign.name, sign.certain, sign.image_ids) == ("shares", False, (6,))


def test_percent():
    many = np.tile(SHARES * 100, (2, 1))
    sign = box_sign(given(many, owners=np.repeat(np.arange(12), 2)))
    assert (sign.name, sign.certain) == ("percent", True)
    few = box_sign(given(SHARES[:8] * 100))
    assert (few.name, few.certain) == ("percent", False)
    # in images of 100 pixels these are pixels
    assert box_sign(given(many, size=(100, 100), owners=np.repeat(np.arange(12), 2))) is None


@pytest.mark.parametrize(
    ("numbers", "name", "reading"),
    [
        (SOUND, "box_format", "two corners, x1, y1, x2, y2"),
        (
            sides(SOUND)[:, [1, 0, 3, 2]],
            "swapped_axes",
            "y before x, or width and height of its images exchanged",
        ),
        (centres(SOUND), "box_format", "centre, width and height"),
    ],
)
def test_sides_expected_and_others_given(numbers, name, reading):
    sign = box_sign(given(read_as_sides(numbers), has_sides=True))
    assert sign.name == name
    assert f"The file probably has {reading}" in sign.cause
    assert "write x, y, width and height" in sign.advice


@pytest.mark.parametrize(
    ("numbers", "name", "reading", "certain"),
    [
        (sides(SOUND), "box_format", "x, y, width and height", True),
        (SOUND[:, [0, 2, 1, 3]], "box_format", "x1, x2, y1, y2", True),
        (SOUND[:, [1, 0, 3, 2]], "swapped_axes", "y before x", True),
        (centres(SOUND), "box_format", "centre, width and height", True),
    ],
)
def test_corners_expected_and_others_given(numbers, name, reading, certain):
    sign = box_sign(given(numbers))
    assert (sign.name, sign.certain) == (name, certain)
    assert f"The file probably has {reading}" in sign.cause


def test_corners_as_sides_are_certain():
    sign = box_sign(given(read_as_sides(SOUND), has_sides=True))
    assert sign.certain
    assert sign.found.startswith("9 of 12 boxes are outside of the image or without area")
    assert "none if read as two corners" in sign.found


def test_stray_boxes_do_not_hide_how_the_others_are_to_be_read():
    stray = np.tile([-50, -50, 20, 20], (1, 1))
    numbers = np.vstack([SOUND, SOUND, SOUND, stray])
    owners = np.append(np.tile(OWNERS, 3), 5)
    sign = box_sign(given(read_as_sides(numbers), has_sides=True, owners=owners))
    assert (sign.name, sign.certain) == ("box_format", True)
    assert sign.found.startswith("28 of 37 boxes are outside")
    assert "only 1 if read as two corners" in sign.found
    percent = np.vstack([np.tile(SHARES * 100, (4, 1)), [-50, -50, 20, 20]])
    sign = box_sign(given(percent, owners=np.append(np.repeat(np.arange(24), 2), 23)))
    assert sign.name == "percent"
    assert "48 of 49 boxes are within 0 and 100" in sign.found


def tiled(corners, times=2):
    """The boxes `times` over, in other images."""
    return np.tile(corners, (times, 1)), np.arange(12 * times) // 2


@pytest.mark.parametrize(
    ("numbers", "layout", "reading"),
    [
        (SHARES, CENTRES, "two corners, x1, y1, x2, y2"),
        (sides(SHARES), CENTRES, "x, y, width and height"),
        (SHARES[:, [1, 0, 3, 2]], SIDES, "two corners, y1, x1, y2, x2"),
    ],
)
def test_other_numbers_than_the_format_has(numbers, layout, reading):
    half = numbers[:, 2:] / 2
    corners = np.hstack([numbers[:, :2] - half, numbers[:, :2] + half])
    corners = corners if layout == CENTRES else read_as_sides(numbers)
    pixels = corners * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    if layout == SIDES:  # in pixels of the other axis
        pixels = read_as_sides(SOUND[:, [1, 0, 3, 2]])
    boxes = replace(given(pixels), form=Form(layout, in_shares=layout == CENTRES))
    sign = box_sign(boxes)
    assert sign.name == "box_format"
    assert f"none if read as {reading}" in sign.found
    assert f"write {layout}" in sign.advice


def test_sound_boxes_by_centres_in_shares_have_no_sign():
    boxes = replace(given(SOUND), form=Form(CENTRES, in_shares=True))
    assert box_sign(boxes) is None
    assert boxes.as_given()[0] == pytest.approx([60 / 640, 55 / 480, 100 / 640, 70 / 480])


def test_few_boxes_outside_are_certain_where_another_reading_fits_all_of_many():
    inner = np.tile([200, 150, 260, 190], (60, 1))  # as centres these stay inside
    edge = np.array([[500, 400, 560, 460]] * 4 + [[40, 30, 110, 80]] * 4, float)
    wide = np.array([[560, 100, 700, 160]] * 8, float)  # by centre 490..630
    corners = np.vstack([inner, edge, wide])
    sign = box_sign(given(corners, has_sides=True, owners=np.arange(len(corners)) // 2))
    assert (sign.name, sign.certain) == ("box_format", True)
    assert "8 of 76 boxes are outside" in sign.found
    assert "centre, width and height" in sign.cause


def test_one_centred_box_in_each_image_is_sound():
    corners = np.tile([160, 120, 480, 360], (30, 1))
    assert box_sign(given(corners, owners=np.arange(30))) is None


def test_a_fifth_of_the_boxes_outside_is_certain():
    corners, owners = tiled(SOUND, 5)
    corners[:13] += [640, 480, 640, 480]
    sign = box_sign(given(corners, owners=owners))
    assert (sign.name, sign.certain) == ("outside", True)


def test_boxes_of_larger_images_are_outside():
    sign = box_sign(given(SOUND * 2))
    assert (sign.name, sign.certain) == ("outside", True)
    assert "resized" in sign.cause


def test_boxes_without_area():
    corners = SOUND.copy()
    corners[:4, 2] = corners[:4, 0]
    sign = box_sign(given(corners))
    assert (sign.name, sign.certain) == ("outside", True)
    assert sign.found.startswith("4 of 12 boxes are without area or have their centre outside of")
    assert "(box 0: 10, 20, 10, 90)" in sign.found


def test_a_tenth_in_shares_is_an_error():
    for number, certain in ((2, False), (3, True)):
        mixed = np.vstack([*[SOUND[:11]] * 2, SHARES[:number]])
        sign = box_sign(given(mixed, owners=np.arange(len(mixed)) // 2))
        assert (sign.name, sign.certain) == ("shares", certain)
    nothing = np.vstack([SOUND, np.zeros((12, 4))])  # placeholders are no shares
    assert box_sign(given(nothing, owners=np.arange(24) // 2)).name == "outside"


def test_boxes_of_smaller_images_are_in_the_upper_left():
    many = np.tile(SOUND * 0.5, (2, 1))
    sign = box_sign(given(many, owners=np.repeat(np.arange(12), 2)))
    assert (sign.name, sign.certain) == ("upper_left", False)
    assert "left 50 % and the upper 50 %" in sign.found


def test_boxes_as_large_as_their_images():
    sign = box_sign(given(np.tile([0, 0, WIDTH, HEIGHT], (24, 1)), owners=np.arange(24)))
    assert (sign.name, sign.certain) == ("whole_image", False)


def test_boxes_that_cross_the_edges_of_tiles_are_sound():
    rng = np.random.default_rng(0)
    centre = rng.uniform(0, 512, (400, 2))
    half = rng.uniform(4, 60, (400, 2))
    corners = np.hstack([centre - half, centre + half])
    boxes = given(corners, size=(512, 512), owners=np.arange(400) // 8)
    assert box_sign(boxes) is None


@pytest.mark.parametrize("side", [6, 60, 300])
def test_random_sound_splits_have_no_sign(side):
    for seed in range(30):
        rng = np.random.default_rng((seed, side))
        images, each = int(rng.integers(1, 40)), int(rng.integers(1, 12))
        size = rng.integers(320, 1200, 2)
        sides_of = rng.uniform(0.3, 1, (images * each, 2)) * side
        first = rng.uniform(0, 1, (images * each, 2)) * (size - sides_of)
        corners = np.hstack([first, first + sides_of])
        for has_sides in (False, True):
            boxes = given(
                corners, size=size, has_sides=has_sides, owners=np.repeat(np.arange(images), each)
            )
            assert box_sign(boxes) is None


def test_turned_images_are_those_whose_boxes_fit_only_with_exchanged_sides():
    corners = np.array([[0, 0, 30, 20], [5, 10, 30, 39], [0, 0, 39, 39], [0, 0, 20, 20]], float)
    sizes = np.tile([40, 30], (4, 1))
    assert turned_images(corners, np.arange(4), sizes, [7, 8, 9, 10]) == (8,)
    assert turned_images(corners[[1, 2]], np.zeros(2, int), sizes, [7, 8, 9, 10]) == ()
    assert turned_images(np.zeros((0, 4)), np.zeros(0, int), sizes, [7, 8, 9, 10]) == ()
