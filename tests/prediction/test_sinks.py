import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.drawing import colour
from src.detection.postprocess import Detections
from src.prediction.sinks import VideoFile, draw, json_entry, writable_rate, write_picture
from src.prediction.sources import Frame, Video
from src.runtime.errors import NotWritten

FOUND = Detections(
    np.array([[10, 12, 40, 50], [60, 5, 90.126, 40]], np.float32),
    np.array([0.9, 0.25], np.float32),
    np.array([1, 0]),
)
NAMES = ("cat", "hot dog")


def test_draw_shows_what_scores_enough_and_leaves_the_image():
    image = np.zeros((80, 100, 3), np.uint8)
    picture = draw(image, FOUND, NAMES, min_score=0.3)
    assert picture[49, 30].tolist() == list(colour(1))
    assert not picture[39, 60:90].any()  # the other box's lower edge
    assert draw(image, FOUND, NAMES, min_score=0.2)[39, 70].tolist() == list(colour(0))
    assert not image.any()


def test_lines_grow_with_the_image():
    found = Detections(np.array([[500, 500, 1500, 1500.0]]), np.array([0.9]), np.array([0]))
    picture = draw(np.zeros((2000, 2560, 3), np.uint8), found, NAMES, min_score=0.3)
    assert (picture[1000, 495:506].any(axis=1)).sum() > 6


def test_entry():
    frame = Frame(Path("a/b.jpg"), np.zeros((80, 100, 3), np.uint8))
    assert json_entry(frame, FOUND, NAMES) == {
        "file": "a/b.jpg",
        "width": 100,
        "height": 80,
        "objects": [
            {"box": [10, 12, 40, 50], "score": 0.9, "class": "hot dog"},
            {"box": [60, 5, 90.13, 40], "score": 0.25, "class": "cat"},
        ],
    }
    of_video = json_entry(Frame(Path("v.mp4"), frame.image, 15, seconds=1.5), FOUND, NAMES)
    assert (of_video["frame"], of_video["seconds"]) == (15, 1.5)


def test_pictures(tmp_path):
    path, target = tmp_path / "a.png", tmp_path / "new" / "a.png"
    picture = np.full((20, 30, 3), (10, 20, 200), np.uint8)
    write_picture({path: target}, Frame(path, picture), picture)
    assert cv2.imread(str(target))[0, 0].tolist() == [200, 20, 10]
    wide = np.zeros((1, 70_000, 3), np.uint8)  # more than a JPEG can be
    with pytest.raises(NotWritten, match=r"^70000 x 1 pixels cannot be written as jpg"):
        write_picture({path: tmp_path / "b.jpg"}, Frame(path, wide), wide)
    assert not (tmp_path / "b.jpg").exists()
    with pytest.raises(NotWritten, match=r"^cannot be written to .*/new/a\.png/b\.jpg: "):
        write_picture({path: target / "b.jpg"}, Frame(path, picture), picture)  # no folder


def test_a_full_disk_concerns_all(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("src.prediction.sinks.write_atomically", full)
    path = tmp_path / "a.png"
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(OSError, match="No space left"):
        write_picture({path: path}, Frame(path, picture), picture)


def test_video_file(tmp_path):
    target = tmp_path / "out" / "clip.mp4"
    picture = np.full((48, 64, 3), (200, 20, 10), np.uint8)
    with VideoFile(target, 8) as movie:
        for number in range(5):
            movie.write(Frame(tmp_path / "clip.avi", picture, number), picture)
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["clip.mp4"]
    video = Video(target)
    frames = list(video)
    assert (video.rate, len(frames)) == (8, 5)
    assert np.abs(frames[2].image.astype(int) - picture).max() < 12


def test_an_interrupted_video_leaves_nothing(tmp_path):
    picture = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(KeyboardInterrupt), VideoFile(tmp_path / "clip.mp4", 8) as movie:
        movie.write(Frame(tmp_path / "clip.avi", picture), picture)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (25.0, 25.0),
        (30000 / 1001, 30000 / 1001),
        (211.222, 211.0),
        (1e6, 65535.0),
        (0.03, 0.03),
        (1e-9, 0.01),
    ],
)
def test_odd_rates_become_one_that_a_file_can_have(tmp_path, rate, written):
    assert writable_rate(rate) == written
    with VideoFile(tmp_path / "clip.mp4", rate) as movie:
        for number in range(3):
            picture = np.zeros((48, 64, 3), np.uint8)
            movie.write(Frame(tmp_path / "clip.avi", picture, number), picture)
    assert not movie.error
    video = Video(tmp_path / "clip.mp4")
    assert video.rate == pytest.approx(written, abs=0.001)
    assert len(list(video)) == 3


@pytest.mark.parametrize(
    ("size", "written"),
    [((63, 47), (62, 46)), ((1, 1), (2, 2)), ((9000, 90), (8190, 82)), ((8, 8192), (8, 8190))],
)
def test_odd_and_large_sizes(tmp_path, size, written):
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    with VideoFile(tmp_path / "clip.mp4", 25) as movie:
        movie.write(Frame(tmp_path / "clip.avi", picture), picture)
    assert not movie.error
    (frame,) = Video(tmp_path / "clip.mp4")
    assert frame.image.shape[1::-1] == written


def test_a_size_that_changes(tmp_path):
    with VideoFile(tmp_path / "clip.mp4", 25) as movie:
        for size in ((48, 64, 3), (64, 48, 3), (24, 32, 3)):
            movie.write(Frame(tmp_path / "clip.avi", picture := np.zeros(size, np.uint8)), picture)
    assert [frame.image.shape for frame in Video(tmp_path / "clip.mp4")] == [(48, 64, 3)] * 3


def test_irregular_frames_of_a_camera_keep_their_time(tmp_path):
    picture = np.zeros((48, 64, 3), np.uint8)
    with VideoFile(tmp_path / "clip.mp4", 10, live=True) as movie:
        for number, seconds in enumerate((0.0, 0.31, 0.32, 1.0)):
            movie.write(Frame("camera 0", picture, number, seconds=seconds), picture)
    assert movie.count == 11  # a second and its first frame
    assert len(list(Video(tmp_path / "clip.mp4"))) == 11
    assert VideoFile(tmp_path / "clip.mp4", 90_000, live=True).rate == 60


def test_a_video_that_cannot_be_written_says_why(tmp_path, monkeypatch):
    picture = np.zeros((48, 64, 3), np.uint8)
    (tmp_path / "file").write_text("in the way")
    with VideoFile(tmp_path / "file" / "clip.mp4", 25) as movie:
        for number in range(3):
            movie.write(Frame(tmp_path / "clip.avi", picture, number), picture)
    assert movie.error.startswith(f"cannot be written to {tmp_path}/file/clip.mp4: ")
    monkeypatch.setattr("src.prediction.sinks.CODEC", "none")
    with VideoFile(tmp_path / "clip.mp4", 25) as movie:
        movie.write(Frame(tmp_path / "clip.avi", picture), picture)
    assert "cannot be written as a video of 64 x 48 pixels at 25 frames a second" in movie.error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_video_without_all_of_its_frames_is_told(tmp_path):
    picture = np.zeros((48, 64, 3), np.uint8)
    with VideoFile(tmp_path / "clip.mp4", 25) as movie:
        movie.write(Frame(tmp_path / "clip.avi", picture), picture)
        movie.count += 2  # as if the disk were full, which OpenCV does not tell
    assert movie.error.endswith("clip.mp4: only 1 of 3 frames were written; disk full?")
    assert list(tmp_path.iterdir()) == []
