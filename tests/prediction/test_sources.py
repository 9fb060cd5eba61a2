import cv2
import numpy as np
import pytest

from src.prediction.sources import Video, find_inputs, read_images
from src.runtime.errors import InputError
from tests.datasets import write_video


@pytest.fixture
def folder(tmp_path):
    """a.png, B.JPG, sub/c.png, clip.avi of 7 frames, and a text file."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "B.JPG", "sub/c.png"):
        cv2.imwrite(str(tmp_path / name), np.full((20, 30, 3), (10, 20, 200), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    write_video(tmp_path / "clip.avi", 7)
    return tmp_path


def names(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_a_folder_with_all_below_it(folder):
    images, videos = find_inputs(str(folder), folder / "out")
    assert names(images, folder) == ["B.JPG", "a.png", "sub/c.png"]
    assert names(videos, folder) == ["clip.avi"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png"]),
        ("**/*.png", ["a.png", "sub/c.png"]),
        ("*.*", ["B.JPG", "a.png", "clip.avi", "notes.txt"]),
        ("notes.txt", ["notes.txt"]),  # who names a file means it
        ("sub/c.png", ["sub/c.png"]),
    ],
)
def test_patterns_and_files(folder, pattern, found):
    images, videos = find_inputs(str(folder / pattern), folder / "out")
    assert sorted(names(images + videos, folder)) == found


@pytest.mark.parametrize("what", ["none.jpg", "*.gif", "empty"])
def test_nothing_found(folder, what):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="check --input"):
        find_inputs(str(folder / what), folder / "out")


def test_earlier_predictions_are_left_out(folder):
    images, _ = find_inputs(str(folder), folder / "sub")
    assert names(images, folder) == ["B.JPG", "a.png"]
    images, _ = find_inputs(str(folder / "**/*.png"), folder / "sub")
    assert names(images, folder) == ["a.png"]
    images, _ = find_inputs(str(folder / "sub/c.png"), folder / "sub")  # who names it means it
    assert names(images, folder) == ["sub/c.png"]


def test_output_that_holds_all_of_the_input(folder):
    with pytest.raises(InputError, match="all of it is in .*; set --output to another folder"):
        find_inputs(str(folder / "sub"), folder)


def test_a_video_that_was_cut_off_says_so(folder):
    write_video(folder / "long.avi", 60)
    data = (folder / "long.avi").read_bytes()
    (folder / "long.avi").write_bytes(data[: len(data) // 2])
    *frames, last = Video(folder / "long.avi")
    assert 10 < len(frames) < 50
    assert not any(frame.error for frame in frames)
    assert f"long.avi: only {len(frames)} of 60 frames can be read" in last.error


def test_images_that_cannot_be_read_say_why(folder):
    good, bad = read_images([folder / "a.png", folder / "notes.txt"])
    assert good.image[0, 0].tolist() == [200, 20, 10]  # RGB
    assert not good.error
    assert (
        bad.error
        == f"{folder / 'notes.txt'}: not an image that can be decoded; damaged, or cut off?"
    )


def test_video(folder):
    video = Video(folder / "clip.avi")
    assert (video.rate, video.frames) == (8, 7)
    frames = list(video)
    assert [frame.number for frame in frames] == list(range(7))
    assert frames[5].image.shape == (48, 64, 3)
    assert abs(int(frames[5].image[20, 20, 0]) - 150) < 10  # red comes first
    assert frames[5].image[20, 20, 2] < 10


def test_files_that_are_no_video(folder):
    (folder / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"bad\.mp4: not a readable video"):
        Video(folder / "bad.mp4")
