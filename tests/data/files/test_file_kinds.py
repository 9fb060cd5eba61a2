"""Kinds of files by content: of Pillow's and OpenCV's own files, and of literal first bytes."""

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.files.file_kinds import Kind, is_hidden, kind_of, sniff, unread_format


@pytest.mark.parametrize(
    ("suffix", "what", "name"),
    [
        ("jpg", "image", "JPEG"),
        ("png", "image", "PNG"),
        ("bmp", "image", "BMP"),
        ("webp", "image", "WebP"),
        ("tif", "image", "TIFF"),
        ("jp2", "image", "JPEG 2000"),
        ("ppm", "image", "PNM"),
        ("gif", "unread", "GIF"),
        ("avif", "unread", "AVIF"),
        ("ico", "unread", "icon"),
        ("pdf", "unread", "PDF"),
    ],
)
def test_pictures_under_a_wrong_name(tmp_path, suffix, what, name):
    Image.new("RGB", (30, 20), (10, 20, 200)).save(tmp_path / f"a.{suffix}")
    path = (tmp_path / f"a.{suffix}").rename(tmp_path / "a.txt")
    assert kind_of(path) == (what, name)
    assert unread_format(path) == (name if what == "unread" else "")


@pytest.mark.parametrize(
    ("suffix", "codec", "name"),
    [
        ("mp4", "mp4v", "MP4"),
        ("mov", "mp4v", "MP4"),
        ("avi", "MJPG", "AVI"),
        ("mkv", "mp4v", "Matroska"),
        ("webm", "VP80", "Matroska"),
        ("ts", "mp4v", "MPEG-TS"),
        ("mpg", "MPG1", "MPEG"),
        ("wmv", "WMV2", "ASF"),
        ("flv", "FLV1", "FLV"),
    ],
)
def test_videos(tmp_path, suffix, codec, name):
    path = tmp_path / f"clip.{suffix}"
    code = cv2.VideoWriter_fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, (64, 48))
    for _ in range(5):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert kind_of(path) == ("video", name)


@pytest.mark.parametrize(
    ("head", "what", "name"),
    [
        (b"", "other", "empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unread", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "unread", "AVIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "unread", "camera raw"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video", "MP4"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom", "other", "audio"),
        (b"\0\0\0\x08wide\0\0\1\0mdat", "video", "QuickTime"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "other", "AppleDouble"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "other", ""),
        (b"BM has two bytes in common with bitmaps", "other", ""),
        (b"P5 is a playlist", "other", ""),
        (b"GG", "other", ""),  # as a transport stream starts
        (b'<?xml version="1.0"?><svg xmlns', "unread", "SVG"),
        (b"<annotation><folder>", "other", ""),
    ],
)
def test_first_bytes(head, what, name):
    assert sniff(head) == (what, name)


def test_raw_files_of_cameras_hold_a_small_preview(tmp_path):
    Image.new("RGB", (16, 12)).save(tmp_path / "a.tif")
    path = (tmp_path / "a.tif").rename(tmp_path / "DSC_0001.NEF")
    assert kind_of(path) == Kind("unread", "camera raw")


def test_hidden_names():
    hidden = ("._a.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "@eaDir")
    assert all(is_hidden(name) for name in hidden)
    assert not any(is_hidden(name) for name in ("a.jpg", "_a.jpg", "a.b.c", "MACOSX"))
