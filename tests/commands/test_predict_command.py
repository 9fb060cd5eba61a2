"""predict.py as a user types it, on images and videos, sound and damaged."""

import json
import signal
import subprocess
import sys

import pytest

from src.prediction.sources import Video
from src.runtime.errors import InputError, RunError
from tests.conftest import REPOSITORY
from tests.datasets import write_video
from tests.programs import call, checkpoint, run, wait_until
from tests.streams import Camera, served

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]

SHAPES = ("ellipse", "rectangle", "triangle", "cross")


@pytest.fixture(scope="module")
def pile(shapes, tmp_path_factory):
    """Four images, one below another folder, a video, and three files that cannot be read."""
    folder = tmp_path_factory.mktemp("pile")
    (folder / "below").mkdir()
    for number, path in enumerate(sorted((shapes / "val2017").iterdir())[:4]):
        (folder / ("below" if number == 3 else ".") / path.name).write_bytes(path.read_bytes())
    write_video(folder / "clip.avi", 5)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "none.png").write_text("no image")
    (folder / "none.mp4").write_text("no video")
    return folder


def test_predict(trained, pile, tmp_path):
    process = run(
        "predict.py",
        checkpoint(trained),  # which knows its configuration
        f"--input={pile}",
        f"--output={tmp_path / 'new'}",
        "--score_threshold=0",
        "--drawn_score=0",
    )
    assert process.returncode == 1, process.stderr
    reasons = {
        "empty.jpg": "is empty (0 bytes)",
        "none.png": "is text, not an image; it begins 'no image'",
        "none.mp4": "not a readable video; damaged or truncated?",
    }
    lines = "".join(f"  {name}: {reason}\n" for name, reason in reasons.items())
    assert process.stderr.endswith(f"error: 3 of 8 inputs failed\n{lines}")
    assert "objects with a score of at least 0: " in process.stdout
    for name, reason in reasons.items():
        assert f"failed: {name}: {reason}\n" in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout.startswith("4 pictures and 1 video (5 frames) in ")
    assert " a second" in process.stdout
    entries = json.loads((tmp_path / "new" / "predictions.json").read_text())
    images = sorted(path for path in pile.rglob("*.jpg") if path.stat().st_size)
    assert [e["file"] for e in entries[:4]] == [str(path) for path in images]
    assert [e["frame"] for e in entries[4:]] == list(range(5))
    assert all(o["class"] in SHAPES for e in entries for o in e["objects"])
    assert sum(len(e["objects"]) for e in entries) > 9
    left = {str(p.relative_to(tmp_path / "new")) for p in (tmp_path / "new").rglob("*.*")}
    pictures = {str(path.relative_to(pile)) for path in images}
    assert left == {"predictions.json", "problems.json", "clip.avi.mp4", *pictures}


def start(trained, source, output):
    """predict.py on `source`, as a process."""
    flags = [checkpoint(trained), f"--input={source}", f"--output={output}"]
    return subprocess.Popen(
        [sys.executable, "predict.py", *flags],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_predict_stops_when_asked_and_keeps_what_is_done(trained, pile, tmp_path):
    images = tmp_path / "many"
    images.mkdir()
    source = next(path for path in pile.glob("*.jpg") if path.stat().st_size)
    for number in range(2000):
        (images / f"{number:04}.jpg").symlink_to(source)
    process = start(trained, images, tmp_path / "out")
    wait_until(lambda: any((tmp_path / "out").glob("*.jpg")), process)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "SIGTERM: saving and exiting" in errors
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert 0 < len(entries) < 2000
    assert out.startswith(f"{len(entries):,} pictures in ")
    assert len(list((tmp_path / "out").glob("*.jpg"))) == len(entries)


def test_predict_opens_no_further_video_when_asked_to_stop(trained, tmp_path):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "0.avi", 3000)
    for number in (1, 2):
        (tmp_path / "in" / f"{number}.avi").symlink_to(tmp_path / "in" / "0.avi")
    process = start(trained, tmp_path / "in", tmp_path / "out")
    wait_until((tmp_path / "out" / ".0.avi.part.mp4").exists, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert 0 < len(entries) < 3000
    assert {entry["file"] for entry in entries} == {str(tmp_path / "in" / "0.avi")}
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"predictions.json", "0.avi.mp4"}


def test_predict_on_a_camera_until_ctrl_c(trained, tmp_path):
    with served(Camera) as address:
        process = start(trained, f"{address}/live", tmp_path)
        wait_until((tmp_path / f".127.0.0.1_{address[17:]}_live.part.mp4").exists, process)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    entries = json.loads((tmp_path / "predictions.json").read_text())
    assert {entry["file"] for entry in entries} == {f"{address}/live"}
    numbers = [entry["frame"] for entry in entries]
    assert numbers == sorted(set(numbers))
    video = tmp_path / f"127.0.0.1_{address[17:]}_live.mp4"
    assert len(list(Video(video))) >= len(entries) > 0
    assert "Traceback" not in errors


def test_predict_on_an_address_where_nothing_is(trained, tmp_path):
    flags = [checkpoint(trained), f"--output={tmp_path}"]
    with pytest.raises(InputError) as error:
        call("predict", *flags, "--input=rtsp://me:secret@127.0.0.1:9/live")
    assert str(error.value) == (
        "rtsp://127.0.0.1:9/live: FFmpeg can open no video there; check address, network, user "
        "and password"
    )


def test_predict_on_nothing_that_can_be_read_leaves_nothing(trained, pile, tmp_path):
    with pytest.raises(RunError) as error:
        call("predict", checkpoint(trained), f"--input={pile}/none.*", f"--output={tmp_path}")
    assert str(error.value) == (
        f"2 of 2 inputs failed\n"
        f"  {pile / 'none.png'}: is text, not an image; it begins 'no image'\n"
        f"  {pile / 'none.mp4'}: not a readable video; damaged or truncated?"
    )
    assert list(tmp_path.iterdir()) == []


def test_predict_with_an_exported_file(trained, exported, pile, tmp_path, capsys):
    flags = [f"--input={pile}/*.jpg", "--score_threshold=0", "--tta_flip=True", "--tiles=100"]
    for name, flag in (("onnx", f"--model={exported[0]}"), ("ckpt", checkpoint(trained))):
        with pytest.raises(RunError, match="1 of 4 inputs failed\n.*empty.jpg"):
            call("predict", flag, *flags, f"--output={tmp_path / name}")
        assert "failed: " in capsys.readouterr().err
    one, other = (
        json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("onnx", "ckpt")
    )
    assert [e["file"] for e in one] == [e["file"] for e in other]
    for mine, theirs in zip(one, other):
        scores = [[o["score"] for o in entry["objects"]] for entry in (mine, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=2e-4)
