"""Predictions on many frames, with a detector that finds as many objects as a pixel says."""

from pathlib import Path

import numpy as np
import pytest

from src.detection.postprocess import Detections
from src.prediction.pipeline import Recorder, predict
from src.prediction.sources import Frame
from src.runtime.errors import NotFinite
from src.runtime.files import JsonList
from src.runtime.out_of_memory import OutOfMemory

BLACK = np.zeros((8, 10, 3), np.uint8)


class Counts:
    """Stands in for a Detector: finds n objects where the first pixel is n; raises at 99."""

    batch_size = 3

    def __init__(self):
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return [int(image[0, 0, 0]) for image in images]

    def views(self, image):
        return 1

    def postprocess(self, count):
        if count == 99:
            raise NotFinite("nan among the scores")
        boxes = np.tile(np.array([[1, 2, 5, 6.0]]), (count, 1))
        return Detections(boxes, np.linspace(0.9, 0.2, count), np.arange(count) % 2)


def frames(*counts):
    """A frame for each count; one that cannot be read for None."""
    for number, count in enumerate(counts):
        path = Path(f"{number}.png")
        if count is None:
            yield Frame(path, BLACK, error="damaged")
        else:
            yield Frame(path, np.full_like(BLACK, count))


def test_every_frame_in_order_with_its_own_detections():
    detector, used = Counts(), []
    counts = [2, None, 0, 5, 1, None, None, None, 99, 3, 4]
    done = list(
        predict(detector, frames(*counts), lambda f, d: used.append((f.path.stem, len(d.scores))))
    )
    assert [frame.path.stem for frame in done] == [str(n) for n in range(11)]
    assert used == [(str(n), c) for n, c in enumerate(counts) if c not in (None, 99)]
    assert {f.path.stem: f.error for f in done if f.error} == {
        **dict.fromkeys("1567", "damaged"),
        "8": "the network's outputs: nan among the scores",
    }
    assert detector.batches == [2, 2, 1, 2]


def test_an_error_with_a_result_ends_the_loop():
    def use(frame, found):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(predict(Counts(), frames(1, 2, 3, 4, 5, 6, 7, 8), use))


def test_too_little_memory_for_one_picture_fails_it_alone():
    def use(frame, found):
        if frame.path.stem == "1":
            raise MemoryError("Unable to allocate 5.03 GiB")

    done = list(predict(Counts(), frames(1, 2, 3), use))
    assert [frame.error for frame in done] == [
        "",
        "out of memory: the largest of 1 image at once is 1.png, 10 x 8 pixels; use smaller images "
        "or --image_size",
        "",
    ]


def test_too_little_memory_for_a_batch_names_its_largest_image():
    class Full(Counts):
        def forward(self, images):
            raise RuntimeError("Device(id:0) memory isn't enough and alloc failed")

    with pytest.raises(OutOfMemory) as told:
        list(predict(Full(), frames(1, None, 3, 4), lambda frame, found: None))
    assert str(told.value) == (
        "out of memory: the largest of 2 images at once is 0.png, 10 x 8 pixels; "
        "use smaller images or --image_size, or --eval_batch_size=1"
    )


def test_too_little_memory_for_the_tiles_of_one_picture():
    class Full(Counts):
        def forward(self, images):
            raise RuntimeError("Device(id:0) memory isn't enough and alloc failed")

        def views(self, image):
            return 9

    with pytest.raises(OutOfMemory, match=r"0\.png, .* or --image_size, or --eval_batch_size=1$"):
        list(predict(Full(), frames(1, 2), lambda frame, found: None))


def test_recorder(tmp_path):
    written = []

    def write(frame, picture):
        written.append((frame.path.stem, bool(picture.any())))

    with JsonList(tmp_path / "p.json") as results:
        recorder = Recorder(results, ("cat", "dog"), min_score=0.5)
        use = recorder.callback(write)
        detector = Counts()
        for frame in frames(0, 3):
            (pending,) = detector.forward([frame.image])
            use(frame, detector.postprocess(pending))
    assert written == [("0", False), ("1", True)]
    assert results.count == 2
    # scores 0.9, 0.55 and 0.2
    assert recorder.objects == {"cat": 1, "dog": 1}
    assert recorder.summary(4.0) == (
        "2 pictures in 4.0 s, 0.50 a second, the first one's compilation included\n"
        "2 objects with a score of at least 0.5: 1 cat, 1 dog"
    )
    assert recorder.summary(4.0, compiled=False).startswith("2 pictures in 4.0 s, 0.50 a second\n")
    recorder.objects.clear()
    assert recorder.below == 1
    assert recorder.summary(4.0).endswith(
        "\n0 objects with a score of at least 0.5; a lower --drawn_score shows 1 more, of "
        "predictions.json"
    )
    recorder.objects["\U0010fffd"] = 2  # of no font
    assert "\nnote: no installed font has all letters of" in recorder.summary(4.0)
