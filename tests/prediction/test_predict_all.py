"""A whole prediction run, with a detector that finds one object in everything."""

import errno
import json
import os
import signal
import threading
from itertools import count

import cv2
import numpy as np
import pytest

from src.detection.postprocess import Detections
from src.prediction.inputs import Inputs, find_inputs
from src.prediction.job import failure_summary, predict_all
from src.prediction.sources import Frame, Video
from src.prediction.targets import plan_targets
from src.runtime.errors import RunError
from src.runtime.out_of_memory import OutOfMemory
from src.runtime.signals import Interruption
from tests.datasets import write_video
from tests.streams import Answers, served

PICTURE = cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()


def run_all(detector, inputs, targets, folder, interruption, stream=None):
    predict_all(
        detector, inputs, targets, folder=folder, min_score=0.3, compiled=True, stream=stream,
        interruption=interruption,
    )  # fmt: skip


class Finder:
    """Stands in for a Detector."""

    batch_size = 2
    names = ("cat",)

    def grouped(self, paths):
        return list(paths)

    def forward(self, images):
        return list(images)

    def views(self, image):
        return 1

    def postprocess(self, pending):
        return Detections(np.array([[1, 2, 9, 8.0]]), np.array([0.9]), np.array([0]))


@pytest.fixture
def pile(tmp_path):
    """a.png, b/c.png, no image bad.png, and 1.avi, 2.avi of 4 frames."""
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    for name in ("a.png", "b/c.png"):
        cv2.imwrite(str(folder / name), np.full((20, 30, 3), 90, np.uint8))
    (folder / "bad.png").write_text("no image")
    for name in ("1.avi", "2.avi"):
        write_video(folder / name, 4)
    return folder


def predicted(source, output, detector=None, interruption=None):
    """Inputs of a run on `source`, with what failed."""
    output.mkdir(exist_ok=True)
    inputs = find_inputs(str(source), output)
    targets = plan_targets(output, str(source), inputs)
    run_all(detector or Finder(), inputs, targets, output, interruption or Interruption())
    return inputs


def entries(output):
    """How many frames of each input are in predictions.json, by name."""
    names = [
        os.path.basename(e["file"]) for e in json.loads((output / "predictions.json").read_text())
    ]
    return {name: names.count(name) for name in names}


def left(output):
    return sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.is_file())


def test_what_is_found_and_what_failed(pile, tmp_path, capsys):
    (pile / "._a.png").write_bytes(b"x")
    inputs = predicted(pile, tmp_path / "out")
    assert entries(tmp_path / "out") == {"a.png": 1, "c.png": 1, "1.avi": 4, "2.avi": 4}
    assert left(tmp_path / "out") == [
        "1.avi.mp4", "2.avi.mp4", "a.png", "b/c.png", "predictions.json", "problems.json",
    ]  # fmt: skip
    assert failure_summary(inputs) == (
        "1 of 5 inputs failed\n  bad.png: is text, not an image; it begins 'no image'"
    )
    assert json.loads((tmp_path / "out" / "problems.json").read_text()) == [
        {
            "file": f"{pile}/bad.png",
            "kind": "failed",
            "reason": "is text, not an image; it begins 'no image'",
        },
        {"file": f"{pile}/._a.png", "kind": "passed over", "reason": "hidden, or left by a system"},
    ]
    captured = capsys.readouterr()
    assert f"pictures, predictions.json, problems.json: {tmp_path}/out\n" in captured.out
    assert captured.err == "failed: bad.png: is text, not an image; it begins 'no image'\n"
    assert captured.out.startswith("2 pictures and 2 videos (8 frames) in ")
    # without problems there is no such file
    (pile / "bad.png").unlink()
    (pile / "._a.png").unlink()
    assert not predicted(pile, tmp_path / "out").failed
    assert "problems.json" not in left(tmp_path / "out")


def test_outputs_that_cannot_be_written_fail_alone(pile, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    (output / "b").write_text("in the way of a folder")
    (output / "1.avi.mp4").mkdir()  # in the way of a video
    inputs = predicted(pile, output)
    # all that was read is in predictions.json
    assert entries(output) == {"a.png": 1, "c.png": 1, "1.avi": 4, "2.avi": 4}
    assert left(output) == ["2.avi.mp4", "a.png", "b", "predictions.json", "problems.json"]
    assert inputs.failed == {
        f"{pile}/b/c.png": f"cannot be written to {output}/b/c.png: File exists",
        f"{pile}/bad.png": "is text, not an image; it begins 'no image'",
        f"{pile}/1.avi": f"cannot be written to {output}/1.avi.mp4: Is a directory",
    }
    assert capsys.readouterr().err == (
        f"failed: b/c.png: cannot be written to {output}/b/c.png: File exists\n"
        "failed: bad.png: is text, not an image; it begins 'no image'\n"
        f"failed: 1.avi: cannot be written to {output}/1.avi.mp4: Is a directory\n"
    )


def test_names_that_are_no_utf_8(tmp_path):
    folder, output = os.fsencode(tmp_path / "in"), tmp_path / "out\udce9"
    os.mkdir(folder)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), 90, np.uint8))
    write_video(tmp_path / "1.avi", 4)
    os.rename(tmp_path / "a.png", folder + b"/caf\xe9.png")
    os.rename(tmp_path / "1.avi", folder + b"/caf\xe9.avi")
    assert not predicted(tmp_path / "in", output).failed
    assert entries(output) == {"caf\udce9.png": 1, "caf\udce9.avi": 4}
    assert left(output) == ["caf\udce9.avi.mp4", "caf\udce9.png", "predictions.json"]


class Turned(Finder):
    """Takes the images in reverse."""

    batch_size = 1

    def grouped(self, paths):
        return list(paths)[::-1]


def test_predictions_are_in_the_order_of_the_inputs(pile, tmp_path):
    """Also where images of one input size are taken together, and where the run is stopped."""
    cv2.imwrite(str(pile / "d.png"), np.full((20, 30, 3), 90, np.uint8))
    predicted(pile, tmp_path / "out", Turned())
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    names = [os.path.relpath(entry["file"], pile) for entry in written]
    assert names == ["a.png", "b/c.png", "d.png", *["1.avi"] * 4, *["2.avi"] * 4]
    assert [entry["frame"] for entry in written[3:]] == [0, 1, 2, 3, 0, 1, 2, 3]

    interruption = Interruption()

    class Stopped(Turned):
        def postprocess(self, pending):
            interruption.signum = signal.SIGINT
            return super().postprocess(pending)

    for number in range(20):
        cv2.imwrite(str(pile / f"e{number:02}.png"), np.full((20, 30, 3), 90, np.uint8))
    predicted(pile, tmp_path / "stopped", Stopped(), interruption)
    done = list(entries(tmp_path / "stopped"))
    assert 0 < len(done) < 20
    assert done == [f"e{number:02}.png" for number in range(20)][-len(done) :]


def test_an_odd_frame_rate_leaves_true_times(tmp_path):
    write_video(tmp_path / "slow.avi", 6, rate=211.222)
    assert not predicted(tmp_path / "slow.avi", tmp_path / "out").failed
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    # n / 211.222
    assert [entry["seconds"] for entry in found] == [0.0, 0.005, 0.009, 0.014, 0.019, 0.024]
    video = Video(tmp_path / "out" / "slow.avi.mp4")
    assert (video.rate, len(list(video))) == (211.0, 6)


def test_a_codec_that_is_missing_fails_videos_alone(pile, tmp_path, monkeypatch):
    monkeypatch.setattr("src.prediction.sinks.CODEC", "none")
    inputs = predicted(pile, tmp_path / "out")
    assert entries(tmp_path / "out") == {"a.png": 1, "c.png": 1, "1.avi": 4, "2.avi": 4}
    assert failure_summary(inputs) == (
        "3 of 5 inputs failed\n  bad.png: is text, not an image; it begins 'no image'\n"
        + "\n".join(
            f"  {name}: {tmp_path}/out/{name}.mp4 cannot be written as a video of 64 x 48 pixels "
            "at 8 frames a second, or not in this folder"
            for name in ("1.avi", "2.avi")
        )
    )


def test_nothing_that_can_be_read(pile, tmp_path):
    with pytest.raises(RunError, match=r"^1 of 1 input failed\n  .*/bad\.png: is text"):
        predicted(pile / "bad.png", tmp_path / "out")
    assert left(tmp_path / "out") == []


def test_a_full_disk_ends_the_run_and_keeps_predictions(pile, tmp_path, monkeypatch, capsys):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("src.prediction.sinks.write_atomically", full)
    out = tmp_path / "out"
    with pytest.raises(OSError, match=f"^.Errno 28. No space left on device: '{out}/a.png'$"):
        predicted(pile, out)
    assert entries(out) == {"a.png": 1}
    assert capsys.readouterr().err == ""  # no bar beside the error


def test_an_error_of_the_detector_keeps_predictions(pile, tmp_path):
    class Breaks(Finder):
        batch_size = 1

        def forward(self, images):
            if images[0].shape == (48, 64, 3):
                raise MemoryError
            return super().forward(images)

    with pytest.raises(OutOfMemory, match=r"memory: .*/1\.avi, 64 x 48 pixels; use"):
        predicted(pile, tmp_path / "out", Breaks())
    assert entries(tmp_path / "out") == {"a.png": 1, "c.png": 1}


def test_a_stop_within_an_image_keeps_predictions(pile, tmp_path):
    interruption = Interruption()

    class Stopped(Finder):
        """Ends as a Detector does between two batches of tiles."""

        batch_size = 1

        def forward(self, images):
            if images[0].shape == (48, 64, 3):
                interruption.signum = signal.SIGINT
                self.check()
            return super().forward(images)

    assert "1.avi" not in predicted(pile, tmp_path / "out", Stopped(), interruption).failed
    assert entries(tmp_path / "out") == {"a.png": 1, "c.png": 1}


class Files(Answers):
    answers = {  # noqa: RUF012
        "/one.jpg": (200, "image/jpeg", PICTURE),
        "/two": (200, "image/png", PICTURE),
        "/cut": (200, "image/png", PICTURE[:60]),
    }


def test_a_list_of_addresses(pile, tmp_path, capsys):
    with served(Files) as address:
        names = ("one.jpg", "gone.jpg", "two", "cut")
        text = "[" + ", ".join(f"{address}/{name}" for name in names) + f", {pile}/1.avi]"
        inputs = predicted(text, tmp_path / "out")
    place = address.removeprefix("http://").replace(":", "_")
    assert left(tmp_path / "out") == [
        "1.avi.mp4", f"{place}_one.jpg", f"{place}_two.jpg", "predictions.json", "problems.json",
    ]  # fmt: skip
    assert entries(tmp_path / "out") == {"one.jpg": 1, "two": 1, "1.avi": 4}
    assert failure_summary(inputs) == (
        f"2 of 5 inputs failed\n  {address}/gone.jpg: HTTP 404 Not Found; check the address\n"
        f"  {address}/cut: not an image that can be decoded; damaged, or cut off?"
    )
    assert capsys.readouterr().out.startswith("2 pictures and 1 video (4 frames) in ")


class Camera:
    """Stands in for a Video that has no end; `ahead` is set every five frames."""

    name, rate, frames, live = "camera 0", 25.0, 0, True

    def __init__(self):
        self.ahead = threading.Event()

    def __iter__(self):
        for number in count():
            picture = np.zeros((48, 64, 3), np.uint8)
            yield Frame(self.name, picture, number, seconds=number / 25)
            if number % 5 == 4:
                self.ahead.set()


def test_a_stream_that_is_stopped_leaves_a_whole_video(tmp_path):
    camera = Camera()
    interruption = Interruption()

    class Slow(Finder):
        batch_size = 1
        calls = 0

        def forward(self, images):
            camera.ahead.clear()
            assert camera.ahead.wait(10)  # it goes on while the network is busy
            self.calls += 1
            if self.calls == 4:
                interruption.signum = signal.SIGINT
            return super().forward(images)

    inputs = Inputs(videos=["0"])
    targets = plan_targets(tmp_path, "0", inputs)
    run_all(Slow(), inputs, targets, tmp_path, interruption, camera)
    assert left(tmp_path) == ["camera0.mp4", "predictions.json"]
    found = json.loads((tmp_path / "predictions.json").read_text())
    assert [entry["file"] for entry in found] == ["camera 0"] * len(found)
    numbers = [entry["frame"] for entry in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > len(numbers)  # what came in between is left out
    assert [entry["seconds"] for entry in found] == [number / 25 for number in numbers]
    assert len(list(Video(tmp_path / "camera0.mp4"))) >= len(numbers)
