"""Image files as people have them: read as RGB, or reported."""

import io
import resource

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from src.data.images import read_header, read_image, read_size
from src.runtime.errors import InputError

HEIGHT, WIDTH = 48, 80


def scene(noise=0):
    """A smooth colourful picture (HEIGHT,WIDTH,3), so that JPEG keeps it nearly as it is."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([x * 3, y * 5, 255 - x * 2 - y], axis=-1).astype(np.float64)
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def grey(image):
    return np.asarray(Image.fromarray(image).convert("L"))


def save(path, image, **options):
    image.save(path, **options)
    return path


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def rgba(image):
    alpha = np.full(image.shape[:2], 9, np.uint8)  # nearly transparent
    return Image.fromarray(np.dstack([image, alpha]))


# how it is written, what RGB is expected, and how far off a pixel may be on average
FORMATS = {
    "rgb.png": (Image.fromarray, {}, scene(), 0),
    "rgb.jpg": (Image.fromarray, {"quality": 95}, scene(), 2),
    "progressive.jpg": (Image.fromarray, {"quality": 95, "progressive": True}, scene(), 2),
    "rotated.jpg": (Image.fromarray, {"quality": 95, "exif": exif(6)}, scene(), 2),
    "grey.jpg": (
        lambda i: Image.fromarray(grey(i)),
        {"quality": 95},
        np.dstack([grey(scene())] * 3),
        1,
    ),
    "grey.png": (lambda i: Image.fromarray(grey(i)), {}, np.dstack([grey(scene())] * 3), 0),
    "cmyk.jpg": (lambda i: Image.fromarray(i).convert("CMYK"), {"quality": 95}, scene(), 3),
    "rgba.png": (rgba, {}, scene(), 0),
    "palette.png": (
        lambda i: Image.fromarray(i).quantize(256),
        {},
        np.asarray(Image.fromarray(scene()).quantize(256).convert("RGB")),
        0,
    ),
    "binary.png": (
        lambda i: Image.fromarray(i).convert("1"),
        {},
        np.asarray(Image.fromarray(scene()).convert("1").convert("RGB")),
        0,
    ),
    "16bit.png": (
        lambda i: Image.fromarray(grey(i).astype(np.uint16) * 257),
        {},
        np.dstack([grey(scene())] * 3),
        0.6,
    ),
    "rgb.bmp": (Image.fromarray, {}, scene(), 0),
    "rgb.webp": (Image.fromarray, {"lossless": True}, scene(), 0),
    "rgb.tif": (Image.fromarray, {}, scene(), 0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_read_as_rgb(tmp_path, name):
    make, options, expected, tolerance = FORMATS[name]
    path = save(tmp_path / name, make(scene()), **options)
    found = read_image(path)
    assert found.dtype == np.uint8
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.astype(int) - expected).mean() <= tolerance
    assert read_size(path) == (WIDTH, HEIGHT)


def test_16_bit_colour(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), scene()[..., ::-1].astype(np.uint16) * 257)
    found = read_image(tmp_path / "deep.png")
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, scene(), atol=1)


def test_very_wide_image(tmp_path):
    wide = np.zeros((3000, 12000, 3), np.uint8)
    wide[:, -1] = (10, 20, 30)
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    found = read_image(tmp_path / "wide.png")
    assert found.shape == (3000, 12000, 3)
    assert found[0, -1].tolist() == [30, 20, 10]
    assert read_size(tmp_path / "wide.png") == (12000, 3000)


def encoded(suffix, **options):
    buffer = io.BytesIO()
    Image.fromarray(scene(noise=20)).save(buffer, suffix, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG"])
def test_truncated_images_are_reported(tmp_path, kind, share):
    data = encoded("JPEG", progressive=True) if kind == "progressive" else encoded(kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data)
    assert read_image(path).shape == (HEIGHT, WIDTH, 3)
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cut\.img: not an image that can be decoded"):
        read_image(path)


def test_too_little_memory_names_the_image(tmp_path, monkeypatch):
    def imdecode(data, flags):
        raise MemoryError

    path = save(tmp_path / "huge.png", Image.fromarray(scene()))
    monkeypatch.setattr(cv2, "imdecode", imdecode)
    with pytest.raises(InputError, match="huge.png: cannot be decoded: out of memory"):
        read_image(path)


def test_too_many_pixels_are_reported(tmp_path):
    # a header that claims 60,000 x 60,000, more than OpenCV decodes
    data = bytearray(encoded("BMP"))
    data[18:26] = np.array([60000, 60000], "<i4").tobytes()
    (tmp_path / "huge.bmp").write_bytes(data)
    with pytest.raises(InputError, match="huge.bmp"):
        read_image(tmp_path / "huge.bmp")
    assert read_size(tmp_path / "huge.bmp") == (60000, 60000)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"not an image, but long enough to look at" * 9, "is text, not an image"),
        ("missing.jpg", None, "cannot be read: No such file"),
        ("folder.jpg", "folder", "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_image_is_reported(tmp_path, name, data, message):
    if data == "folder":
        (tmp_path / name).mkdir()
    elif data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        read_image(tmp_path / name)
    with pytest.raises(InputError, match=name):
        read_size(tmp_path / name)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_pixels_are_those_stored_whatever_the_orientation(tmp_path, suffix, turn):
    path = tmp_path / f"turned{suffix}"
    tags = Image.Exif()
    tags[0x0112] = turn
    Image.fromarray(scene()).save(path, exif=tags)
    np.testing.assert_array_equal(read_image(path), scene())
    assert read_size(path) == (WIDTH, HEIGHT)
    assert read_header(path) == ((WIDTH, HEIGHT), turn)


def test_floating_pixels_are_named(tmp_path, capfd):
    path = tmp_path / "float.tif"
    cv2.imwrite(str(path), np.linspace(0, 0.5, 1200, dtype=np.float32).reshape(30, 40))
    expected = "float.tif: has float32 pixels, 0 to 0.5, which are not read; scale all images"
    with pytest.raises(InputError, match=expected):
        read_image(path)
    assert capfd.readouterr().err == ""  # OpenCV would warn too


def test_damaged_images_leak_no_memory(tmp_path):
    whole = cv2.imencode(".jpg", np.zeros((1500, 2000, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])

    def fail(times):
        for _ in range(times):
            with pytest.raises(InputError):
                read_image(tmp_path / "cut.jpg")

    fail(5)
    before = psutil.Process().memory_info().rss
    fail(40)
    # 40 images of 9 MB; a leak of every one would be 360 MB
    assert psutil.Process().memory_info().rss - before < 60e6
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert psutil.Process().num_fds() < soft / 2
