from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.drawing import colour
from src.detection.postprocess import Detections
from src.prediction.sinks import VideoFile, draw, json_entry, plan_targets, write_picture
from src.prediction.sources import Frame, Video
from src.runtime.errors import InputError

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
    assert json_entry(frame, FOUND, NAMES, 0) == {
        "file": "a/b.jpg",
        "width": 100,
        "height": 80,
        "objects": [
            {"box": [10, 12, 40, 50], "score": 0.9, "class": "hot dog"},
            {"box": [60, 5, 90.13, 40], "score": 0.25, "class": "cat"},
        ],
    }
    of_video = json_entry(Frame(Path("v.mp4"), frame.image, 15), FOUND, NAMES, 10)
    assert (of_video["frame"], of_video["seconds"]) == (15, 1.5)


def planned(folder, text, names):
    """Targets below folder/out, by input below folder."""
    paths = [folder / name for name in names]
    targets = plan_targets(folder / "out", str(folder / text), paths)
    return {str(a.relative_to(folder)): str(b.relative_to(folder)) for a, b in targets.items()}


def test_targets_keep_their_folders(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    names = ["in/a.png", "in/sub/a.png", "in/sub/b.xyz", "in/c.mp4", "in/c.avi"]
    assert planned(tmp_path, "in", names) == {
        "in/a.png": "out/a.png",
        "in/sub/a.png": "out/sub/a.png",
        "in/sub/b.xyz": "out/sub/b.xyz.jpg",
        "in/c.mp4": "out/c.mp4",
        "in/c.avi": "out/c.avi.mp4",
    }
    # of a pattern, below the folder that all have in common
    assert planned(tmp_path, "in/sub/*", ["in/sub/a.png"]) == {"in/sub/a.png": "out/a.png"}
    assert planned(tmp_path, "in", ["in/sub/a.png"]) == {"in/sub/a.png": "out/sub/a.png"}


def test_nothing_is_overwritten(tmp_path):
    with pytest.raises(InputError, match="is an input; set --output"):
        plan_targets(tmp_path, str(tmp_path), [tmp_path / "a.png"])
    with pytest.raises(InputError, match="is an input; set --output"):
        paths = [tmp_path / "in" / "out" / "a.png", tmp_path / "in" / "a.png"]
        plan_targets(tmp_path / "in" / "out", str(tmp_path / "in"), paths)
    with pytest.raises(InputError, match=r"b\.avi.*b\.avi\.mp4: both would become"):
        planned(tmp_path, ".", ["b.avi.mp4", "b.avi"])


def test_pictures(tmp_path):
    path, target = tmp_path / "a.png", tmp_path / "new" / "a.png"
    picture = np.full((20, 30, 3), (10, 20, 200), np.uint8)
    write_picture({path: target}, Frame(path, picture), picture)
    assert cv2.imread(str(target))[0, 0].tolist() == [200, 20, 10]
    wide = np.zeros((1, 70_000, 3), np.uint8)  # more than a JPEG can be
    with pytest.raises(OSError, match=r"cannot be written as an image.*b\.jpg"):
        write_picture({path: tmp_path / "b.jpg"}, Frame(path, wide), wide)
    assert not (tmp_path / "b.jpg").exists()


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
