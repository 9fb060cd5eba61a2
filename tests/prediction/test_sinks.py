from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.drawing import colour
from src.detection.postprocess import Detections
from src.errors import InputError
from src.prediction.sinks import Pictures, VideoFile, draw, entry_of
from src.prediction.sources import Frame, Video

FOUND = Detections(
    np.array([[10, 12, 40, 50], [60, 5, 90.126, 40]], np.float32),
    np.array([0.9, 0.25], np.float32),
    np.array([1, 0]),
)
NAMES = ("cat", "hot dog")


def test_draw_shows_what_scores_enough_and_leaves_the_image():
    image = np.zeros((80, 100, 3), np.uint8)
    picture = draw(image, FOUND, NAMES, least=0.3)
    assert picture[49, 30].tolist() == list(colour(1))
    assert not picture[39, 60:90].any()  # the other box's lower edge
    assert draw(image, FOUND, NAMES, least=0.2)[39, 70].tolist() == list(colour(0))
    assert not image.any()


def test_lines_grow_with_the_image():
    found = Detections(np.array([[500, 500, 1500, 1500.0]]), np.array([0.9]), np.array([0]))
    picture = draw(np.zeros((2000, 2560, 3), np.uint8), found, NAMES, least=0.3)
    assert (picture[1000, 495:506].any(axis=1)).sum() > 6


def test_entry():
    frame = Frame(Path("a/b.jpg"), np.zeros((80, 100, 3), np.uint8))
    assert entry_of(frame, FOUND, NAMES, 0) == {
        "file": "a/b.jpg",
        "width": 100,
        "height": 80,
        "objects": [
            {"box": [10, 12, 40, 50], "score": 0.9, "class": "hot dog"},
            {"box": [60, 5, 90.13, 40], "score": 0.25, "class": "cat"},
        ],
    }
    of_video = entry_of(Frame(Path("v.mp4"), frame.image, 15), FOUND, NAMES, 10)
    assert (of_video["frame"], of_video["seconds"]) == (15, 1.5)


def test_pictures_keep_their_folders(tmp_path):
    paths = [tmp_path / "in" / name for name in ("a.png", "sub/a.png", "sub/b.xyz")]
    pictures = Pictures(tmp_path / "out", paths)
    picture = np.full((20, 30, 3), (10, 20, 200), np.uint8)
    for path in paths:
        pictures.write(Frame(path, picture), picture)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["out/a.png", "out/sub/a.png", "out/sub/b.xyz.jpg"]
    assert cv2.imread(str(tmp_path / "out" / "a.png"))[0, 0].tolist() == [200, 20, 10]


def test_inputs_are_not_overwritten(tmp_path):
    with pytest.raises(InputError, match="would be overwritten"):
        Pictures(tmp_path, [tmp_path / "a.png"])
    with pytest.raises(InputError, match="would be overwritten"):
        VideoFile(tmp_path, tmp_path / "a.mp4")


def test_video_file(tmp_path):
    (tmp_path / "out").mkdir()
    movie = VideoFile(tmp_path / "out", tmp_path / "clip.avi")
    movie.rate = 8
    picture = np.full((48, 64, 3), (200, 20, 10), np.uint8)
    for number in range(5):
        movie.write(Frame(tmp_path / "clip.avi", picture, number), picture)
    movie.close()
    video = Video(tmp_path / "out" / "clip.mp4")
    frames = list(video)
    assert (video.rate, len(frames)) == (8, 5)
    assert np.abs(frames[2].image.astype(int) - picture).max() < 12
