"""Resizing to a short side, against plain bilinear interpolation."""

import cv2
import numpy as np
import pytest

from src.config.configuration import make_config
from src.data.annotations import Annotations
from src.data.eval_loader import EvalSamples, eval_batches
from src.data.short_side import ShortSide, build_short_side, check_training_resize
from src.data.transforms import FILL
from src.runtime.errors import InputError
from tests.datasets import split_of_images

MEAN = (123.675, 116.28, 103.53)
CANVASES = ((64, 96), (96, 64))
SMALL = ShortSide(short=64, long=90, canvases=CANVASES, fill=MEAN)
KEYS = {"resize": "short_side", "image_size": [800, 1344]}


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def slow_bilinear(image, width, height):
    """Bilinear interpolation without antialiasing between centres of pixels, a pixel at a time."""
    image = image.astype(np.float64)
    out = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            y = (row + 0.5) * image.shape[0] / height - 0.5
            x = (column + 0.5) * image.shape[1] / width - 0.5
            y, x = (np.clip(v, 0, s - 1) for v, s in zip((y, x), image.shape))
            top, left = int(y), int(x)
            low, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
            above = image[top, left] * (1 - x + left) + image[top, right] * (x - left)
            below = image[low, left] * (1 - x + left) + image[low, right] * (x - left)
            out[row, column] = above * (1 - y + top) + below * (y - top)
    return out


@pytest.mark.parametrize(
    ("height", "width", "sides"),
    [
        (480, 640, (800, 1066)),  # rounded down, as in torchvision
        (640, 480, (1066, 800)),
        (500, 375, (1066, 800)),
        (427, 640, (800, 1199)),
        (333, 500, (800, 1201)),
        (300, 900, (444, 1333)),  # the long side's limit
        (900, 300, (1333, 444)),
        (2000, 2000, (800, 800)),
        (1, 2000, (1, 1333)),
    ],
)
def test_sides_at_the_published_size(height, width, sides):
    resizing = build_short_side(make_config([(KEYS, "test")]), MEAN)
    canvas = resizing.canvas(width, height)
    assert canvas == ((1344, 800) if height > width else (800, 1344))
    placed, scale = resizing.fit(np.zeros((height, width, 3), np.uint8), canvas)
    assert placed.shape == (*canvas, 3)
    np.testing.assert_allclose(scale, [sides[1] / width, sides[0] / height], rtol=1e-6)
    is_image = (placed == 0).all(axis=2)
    assert is_image[: sides[0], : sides[1]].all()
    assert is_image.sum() == sides[0] * sides[1]


@pytest.mark.parametrize(("height", "width"), [(50, 70), (97, 41), (20, 120)])
def test_pixels_are_those_of_plain_interpolation(height, width):
    image = picture(height, width)
    canvas = SMALL.canvas(width, height)
    placed, scale = SMALL.fit(image, canvas)
    new_width, new_height = np.rint(scale * [width, height]).astype(int)
    assert placed.dtype == np.float32
    expected = slow_bilinear(image, new_width, new_height)
    # OpenCV's coordinates are float32
    np.testing.assert_allclose(placed[:new_height, :new_width], expected, atol=0.01)
    outside = np.ones(canvas, bool)
    outside[:new_height, :new_width] = False
    np.testing.assert_array_equal(placed[outside] - np.float32(MEAN), 0)  # 0 when normalised
    # an exported file's canvas has the same in whole numbers
    file = ShortSide(short=64, long=90, canvases=(canvas,), fill=FILL, exact=False)
    whole, same = file.fit(image, canvas)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(same, scale)
    np.testing.assert_allclose(whole[:new_height, :new_width], expected, atol=1)
    np.testing.assert_array_equal(whole[outside], np.tile(np.uint8(FILL), (outside.sum(), 1)))


@pytest.mark.parametrize(
    ("height", "width", "canvas"),
    [
        (480, 640, (800, 1088)),
        (640, 480, (1088, 800)),
        (427, 640, (800, 1216)),
        (300, 900, (448, 1344)),
        (900, 300, (1344, 448)),
        (800, 800, (800, 800)),
    ],
)
def test_the_smallest_canvas_is_torchvisions_for_a_single_image(height, width, canvas):
    resizing = build_short_side(make_config([({**KEYS, "canvas_step": 32}, "test")]), MEAN)
    assert resizing.canvas(width, height) == canvas
    _, scale = resizing.fit(np.zeros((height, width, 3), np.uint8), canvas)
    whole = build_short_side(make_config([(KEYS, "test")]), MEAN)
    _, same = whole.fit(np.zeros((height, width, 3), np.uint8), whole.canvas(width, height))
    np.testing.assert_array_equal(scale, same)


def test_an_exported_file_has_one_canvas():
    cfg = make_config([(KEYS, "test")])
    file = build_short_side(cfg)
    assert file.canvas(480, 640) == (800, 1344)
    _, scale = file.fit(np.zeros((640, 480, 3), np.uint8), (800, 1344))
    np.testing.assert_allclose(scale, [800 / 640, 800 / 640])
    assert build_short_side(make_config([({}, "test")])) is None
    square = make_config([({**KEYS, "long_side": 800, "image_size": [800, 800]}, "test")])
    assert build_short_side(square, MEAN).canvases == ((800, 800),)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_size": [640, 640]}, r"does not fit image_size \[640, 640\]; .* \[800, 1344\]"),
        ({"short_side": 900, "long_side": 640}, "short_side is 900 and long_side is 640"),
        ({"anchors": "ssd"}, "resize is short_side and anchors is ssd"),
        ({"canvas_step": 40}, "canvas_step is 40; expected a multiple of 32"),
        ({"tta_scales": [0.8, 1.0]}, r"resize is short_side and tta_scales is \[0.8, 1.0\]"),
    ],
)
def test_keys_that_do_not_fit(keys, message):
    with pytest.raises(InputError, match=message):
        make_config([({**KEYS, **keys}, "test")])


def test_no_training():
    check_training_resize(make_config([({"resize": "letterbox"}, "test")]))
    with pytest.raises(InputError, match="train with --resize=letterbox"):
        check_training_resize(make_config([(KEYS, "test")]))


@pytest.fixture
def split(tmp_path) -> Annotations:
    """Five images, lying and standing, of which the last is damaged."""
    sizes = [(70, 50), (40, 60), (80, 80), (30, 60), (60, 30)]  # width, height
    for index, (width, height) in enumerate(sizes):
        pixels = picture(height, width, index)
        cv2.imwrite(str(tmp_path / f"{index}.png"), pixels[..., ::-1])
    (tmp_path / "4.png").write_bytes(b"")
    return split_of_images(tmp_path, sizes)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_holds_images_of_one_canvas(split, workers):
    samples = EvalSamples(split, sizes=[(64, 96)], keep_aspect=False, short_side=SMALL)
    seen = []
    for batch in eval_batches(samples, batch_size=2, workers=workers):
        (images,) = batch.images
        assert images.dtype == np.float32
        for row, image_id in enumerate(batch.image_ids.tolist()):
            seen.append((image_id, images.shape[1:3], bool(batch.readable[row])))
            if batch.readable[row]:
                expected, scale = SMALL.fit(split[image_id - 10].read(), images.shape[1:3])
                np.testing.assert_array_equal(images[row], expected)
                np.testing.assert_array_equal(batch.scales[row, 0], scale)
    lying, standing = CANVASES
    assert seen == [
        (10, lying, True), (12, lying, True), (14, lying, False),
        (11, standing, True), (13, standing, True),
    ]  # fmt: skip
