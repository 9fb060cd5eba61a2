"""What a file is that is no image."""

import gzip
import io

import pytest
from PIL import Image

from src.data.files.strange_files import not_an_image
from src.data.images import read_image, read_size
from src.runtime.errors import InputError


def saved(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, kind)
    return buffer.getvalue()


CASES = {
    "gif": (saved("GIF"), "is GIF, which is not read; convert it to JPEG or PNG"),
    "avif": (saved("AVIF"), "is AVIF, which is not read"),
    "heic": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(64), "is HEIC, which is not read"),
    "icon": (saved("ICO"), "is icon, which is not read"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "is SVG, which is not read"),
    "psd": (b"8BPS\0\1" + bytes(64), "is Photoshop, which is not read"),
    "jxl": (b"\xff\x0a" + bytes(64), "is JPEG XL, which is not read"),
    "dicom": (bytes(128) + b"DICM" + bytes(64), "is DICOM, which is not read"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "is a git-LFS pointer, not the"),
    "html": (b"\n<!DOCTYPE html><html>", "is a web page (HTML), not the file"),
    "zip": (b"PK\3\4" + bytes(64), "is a zip archive; unpack it"),
    "gzip": (gzip.compress(b"a"), "is compressed with gzip; unpack it with gunzip"),
    "pdf": (b"%PDF-1.7\n", "is PDF, which is not read; convert it"),
    "mac": (b"\0\5\x16\7\0\2\0\0Mac OS X", "is what a Mac's archive keeps beside a file"),
    "video": (
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(64),
        "is a video (MP4); save its frames",
    ),
    "zeros": (bytes(100), "is nothing but zeros; copy it once more"),
    "text": ("caf\u00e9".encode() * 2000, "is text, not an image; it begins 'caf"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_message_says_what_the_file_is(tmp_path, kind):
    data, what = CASES[kind]
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for read in (read_image, read_size):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: {what}")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_images_that_are_read_are_none_of_these(tmp_path, kind):
    path = tmp_path / "photo"
    path.write_bytes(saved(kind))
    assert not_an_image(path) == ""
    assert read_image(path).shape == (30, 40, 3)
    assert read_size(path) == (40, 30)


def test_missing_file_is_not_looked_at(tmp_path):
    assert not_an_image(tmp_path / "none.jpg") == ""
