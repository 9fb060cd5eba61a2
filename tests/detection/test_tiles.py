"""Tiles of an image, and boxes that they cut."""

import numpy as np
import pytest

from src.detection.postprocess import Detections
from src.detection.tiles import Tiling, build_tiling, describe_tiles, in_whole_image

SQUARE = Tiling(100, 100, 0.2)


def test_windows_with_literal_numbers():
    assert Tiling().windows(1000, 10).tolist() == [[0, 0, 1000, 10]]
    # three tiles in x, 75 apart where 80 would do, so that the last ends at the edge; two in y
    assert SQUARE.windows(250, 180).tolist() == [
        [0, 0, 250, 180],
        [0, 0, 100, 100], [75, 0, 175, 100], [150, 0, 250, 100],
        [0, 80, 100, 180], [75, 80, 175, 180], [150, 80, 250, 180],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "windows"),
    [
        ((100, 100), [[0, 0, 100, 100]]),  # exactly a tile
        ((99, 7), [[0, 0, 99, 7]]),  # smaller
        ((1, 1), [[0, 0, 1, 1]]),
        ((101, 100), [[0, 0, 101, 100], [0, 0, 100, 100], [1, 0, 101, 100]]),
        ((180, 60), [[0, 0, 180, 60], [0, 0, 100, 60], [80, 0, 180, 60]]),  # one row
        ((60, 180), [[0, 0, 60, 180], [0, 0, 60, 100], [0, 80, 60, 180]]),  # one column
    ],
)
def test_images_of_about_a_tile(size, windows):
    assert SQUARE.windows(*size).tolist() == windows


def test_an_object_of_less_than_the_overlap_is_kept_in_a_tile():
    """Every place of objects of 5 to 14 pixels; 20 are the overlap."""
    windows = SQUARE.windows(333, 100)[1:]
    lost = dict.fromkeys(range(5, 20), 0)
    for side in lost:
        for x in range(333 - side + 1):
            box = np.array([[x, 40, x + side, 60]], np.float32)
            kept = 0
            for window in windows:
                own = np.clip(box - np.tile(window[:2], 2), 0, 100).astype(np.float32)
                found = Detections(own, np.ones(1), np.zeros(1, int))
                if own[0, 0] < own[0, 2]:
                    moved = in_whole_image(found, window, np.array([333, 100])).boxes
                    kept += len(moved)
                    assert not len(moved) or moved.tolist() == box.tolist()
            lost[side] += not kept
    assert not any(lost[side] for side in range(5, 15))  # up to 20 / 1.4
    assert lost[19] > 0


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.33, 0.9])
def test_an_object_of_the_overlap_is_whole_in_a_tile(overlap):
    """Every place of an object in 150 sizes of images, by counting."""
    tile = 40
    most = int(np.ceil(tile * overlap))
    for side in range(tile + 1, tile + 151):
        windows = Tiling(tile, tile, overlap).windows(side, tile)[1:]
        assert windows[0, 0] == 0 and windows[-1, 2] == side
        assert (windows[:, 2] - windows[:, 0] == tile).all()
        places = np.arange(side - most + 1)[:, None]
        is_whole = (places >= windows[:, 0]) & (places + most <= windows[:, 2])
        assert is_whole.any(axis=1).all()
        # one tile less would not do
        assert (len(windows) - 1) * (tile - most) < side - most or len(windows) == 2


def test_boxes_that_a_tile_cuts():
    boxes = [
        [0, 40, 30, 60],  # ends at the left edge
        [5.9, 40, 35.9, 60],  # less than 0.2 of its width from it
        [6.1, 40, 36.1, 60],
        [40, 40, 60, 100],  # at the lower edge, which is the image's
        [40, 3.9, 60, 23.9],  # near the upper edge
        [70, 40, 95.5, 60],  # near the right edge
    ]
    found = Detections(np.array(boxes, np.float32), np.linspace(0.9, 0.4, 6), np.arange(6))
    tile = in_whole_image(found, np.array([75, 80, 175, 180]), np.array([250, 180]))
    assert tile.labels.tolist() == [2, 3]
    np.testing.assert_allclose(
        tile.boxes, [[81.1, 120, 111.1, 140], [115, 120, 135, 180]], rtol=1e-6
    )
    assert tile.scores.tolist() == found.scores[[2, 3]].tolist() and tile.boxes.dtype == np.float32
    # the whole image cuts nothing, an image's only row not above and below
    whole = in_whole_image(found, np.array([0, 0, 100, 100]), np.array([100, 100]))
    np.testing.assert_array_equal(whole.boxes, found.boxes)
    row = in_whole_image(found, np.array([0, 0, 100, 100]), np.array([300, 100]))
    assert row.labels.tolist() == [0, 1, 2, 3, 4]
    none = in_whole_image(found.take([]), np.array([75, 80, 175, 180]), np.array([250, 180]))
    assert none.boxes.shape == (0, 4)


def test_small_boxes_of_the_whole_image_are_left_to_the_tiles():
    boxes = [[0, 0, 13, 13], [0, 0, 15, 13], [0, 0, 13, 15], [0, 0, 200, 90]]
    found = Detections(np.array(boxes, np.float32), np.ones(4), np.arange(4))
    tiling, size = Tiling(100, 100, 0.2), np.array([250, 100])
    whole = np.array([0, 0, 250, 100])
    assert tiling.in_image(found, whole, size).labels.tolist() == [1, 2, 3]  # from 20 / 1.4 on
    assert tiling.in_image(found, whole[:4] - [0, 0, 150, 0], size).labels.tolist() == [0, 1, 2]
    assert Tiling(100, 100).in_image(found, whole, size).labels.tolist() == [0, 1, 2, 3]
    small = np.array([100, 90])  # without tiles
    assert tiling.in_image(found, np.array([0, 0, 100, 90]), small).labels.tolist() == [0, 1, 2, 3]


def test_shape_of_the_input(small):
    square = small.replace(tiles=320, tile_overlap=0.5)
    assert build_tiling(square) == Tiling(320, 320, 0.5)
    assert build_tiling(square.replace(image_size=[384, 640])) == Tiling(192, 320, 0.5)
    assert build_tiling(square.replace(image_size=[32, 6400], tiles=32)) == Tiling(1, 32, 0.5)
    assert build_tiling(small) == Tiling(0, 0, 0.2)
    assert len(build_tiling(small).windows(9999, 9999)) == 1


def test_what_is_said():
    sizes = np.array([[100, 50], [250, 180], [250, 180]], np.int32)
    assert describe_tiles(SQUARE, sizes) == (
        "12 tiles of 100 x 100 pixels too: 5.0 times the work; 1 of 3 images are no larger than a "
        "tile"
    )
