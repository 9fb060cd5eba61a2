import math

import cv2
import numpy as np
import pytest

from src.prediction.addresses import shown_name
from src.prediction.sources import Video, later, read_images
from src.runtime.errors import InputError
from tests.datasets import write_video


@pytest.fixture
def folder(tmp_path):
    """a.png, clip.avi of 7 frames, and a text file."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), (10, 20, 200), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    write_video(tmp_path / "clip.avi", 7)
    return tmp_path


def test_a_video_that_was_cut_off_says_so(folder):
    write_video(folder / "long.avi", 60)
    data = (folder / "long.avi").read_bytes()
    (folder / "long.avi").write_bytes(data[: len(data) // 2])
    *frames, last = Video(folder / "long.avi")
    assert 10 < len(frames) < 50
    assert not any(frame.error for frame in frames)
    assert last.error == f"only {len(frames)} of 60 frames can be read"


def test_images_that_cannot_be_read_say_why(folder):
    good, bad = read_images([folder / "a.png", folder / "notes.txt"])
    assert good.image[0, 0].tolist() == [200, 20, 10]  # RGB
    assert not good.error
    assert bad.error == "is text, not an image; it begins 'no image'"


def test_video(folder):
    video = Video(folder / "clip.avi")
    assert (video.rate, video.frames) == (8, 7)
    frames = list(video)
    assert [frame.number for frame in frames] == list(range(7))
    assert [frame.seconds for frame in frames] == [number / 8 for number in range(7)]
    assert frames[5].image.shape == (48, 64, 3)
    assert abs(int(frames[5].image[20, 20, 0]) - 150) < 10  # red comes first
    assert frames[5].image[20, 20, 2] < 10


def test_files_that_are_no_video(folder):
    (folder / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"bad\.mp4: not a readable video"):
        Video(folder / "bad.mp4")


def test_a_percent_sign_in_a_name_is_no_number(folder):
    (folder / "clip.avi").rename(folder / "a:%02d.avi")
    assert len(list(Video(folder / "a:%02d.avi"))) == 7


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 211.222])
def test_rates_that_are_none(folder, rate, monkeypatch):
    opened = Video(folder / "clip.avi").capture

    class Header:
        def get(self, key):
            return rate if key == cv2.CAP_PROP_FPS else opened.get(key)

    monkeypatch.setattr("src.prediction.sources.open_file", lambda path: Header())
    assert Video(folder / "clip.avi").rate == (211.222 if rate == 211.222 else 25.0)


def test_times_grow():
    assert later(1500.0, 1.0, 25.0) == 1.5
    for position in (0.0, 1000.0, -1.0, math.nan, math.inf):
        assert later(position, 1.0, 25.0) == 1.04


def test_addresses_are_shown_without_password():
    assert shown_name("rtsp://me:p@ss@cam:554/a?x=1") == "rtsp://cam:554/a?x=1"
    assert shown_name("http://cam/a@b") == "http://cam/a@b"
    assert shown_name("0") == "camera 0"
