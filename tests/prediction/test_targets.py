"""Where annotated copies go."""

import pytest

from src.prediction.addresses import shown_name
from src.prediction.inputs import Inputs
from src.prediction.targets import plan_targets
from src.runtime.errors import InputError


def planned(folder, text, names):
    """Targets below folder/out, by input below folder."""
    paths = [folder / name for name in names]
    images = [path for path in paths if path.suffix not in (".avi", ".mp4")]
    inputs = Inputs(images, [path for path in paths if path not in images])
    targets = plan_targets(folder / "out", str(folder / text), inputs)
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
        plan_targets(tmp_path, str(tmp_path), Inputs([tmp_path / "a.png"]))
    with pytest.raises(InputError, match="is an input; set --output"):
        paths = [tmp_path / "in" / "out" / "a.png", tmp_path / "in" / "a.png"]
        plan_targets(tmp_path / "in" / "out", str(tmp_path / "in"), Inputs(paths))


def test_names_that_two_inputs_would_have(tmp_path):
    assert planned(tmp_path, ".", ["b.avi.mp4", "b.avi", "c", "c.jpg", "c-2.jpg"]) == {
        "c": "out/c-3.jpg",
        "c.jpg": "out/c.jpg",
        "c-2.jpg": "out/c-2.jpg",
        "b.avi.mp4": "out/b.avi.mp4",
        "b.avi": "out/b.avi-2.mp4",
    }
    # a folder's name
    assert planned(tmp_path, ".", ["a", "a.jpg/a.png"]) == {
        "a": "out/a-2.jpg",
        "a.jpg/a.png": "out/a.jpg/a.png",
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0", "camera0.mp4"),
        ("/dev/video2", "dev_video2.mp4"),
        ("rtsp://me:secret@cam.local:554/live/1?token=x", "cam.local_554_live_1.mp4"),
        ("http://h/../../x.mp4", "h_.._.._x.mp4"),
        ("http://h/live.stream", "h_live.stream.mp4"),
        ("udp://@:1", "1.mp4"),
    ],
)
def test_names_of_streams(tmp_path, text, name):
    inputs = Inputs(videos=[text])
    assert plan_targets(tmp_path, text, inputs) == {shown_name(text): tmp_path / name}


def test_names_of_pictures_at_addresses(tmp_path):
    addresses = ["http://me:secret@h/a.jpg", "http://h/snap?cam=1", "http://h/snap?cam=2"]
    inputs = Inputs([*addresses, tmp_path / "in" / "b.png"], ["http://h/a.jpg?video"])
    targets = plan_targets(tmp_path / "out", "[several]", inputs)
    assert {str(name): target.name for name, target in targets.items()} == {
        "http://h/a.jpg": "h_a.jpg",
        "http://h/snap?cam=1": "h_snap.jpg",
        "http://h/snap?cam=2": "h_snap-2.jpg",
        f"{tmp_path}/in/b.png": "b.png",
        "http://h/a.jpg?video": "h_a.jpg.mp4",
    }
