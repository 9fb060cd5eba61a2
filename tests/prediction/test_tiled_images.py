"""Detections in large images from their tiles, with a model that finds bright rectangles."""

import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest

from src.data.annotations import Annotations
from src.data.eval_loader import EvalSamples, eval_batches
from src.data.short_side import ShortSide
from src.detection.postprocess import Detections, Postprocessor
from src.detection.tiles import Tiling
from src.evaluation.detect import detect_split
from src.evaluation.results import result_rows
from src.prediction.crops import filled, find_batch_size
from src.prediction.detector import Detector
from src.prediction.inference import Inference
from src.prediction.inputs import Inputs
from src.prediction.network_model import Model
from src.prediction.pipeline import predict
from src.prediction.sources import Frame
from src.runtime.errors import InputError, NotFinite
from src.runtime.signals import Interrupted, Interruption
from tests.datasets import split_of_images

TILE = 64
TILING = Tiling(TILE, TILE, 0.25)
LEAST = 6  # pixels of a side that the model needs to see a rectangle
SPOILT = 77  # a grey that makes the model's outputs nan
# x1, y1, x2, y2 in an image of 240 x 150; tiles begin at 0, 44, 88, 132 and 176, and 0, 43 and 86
SEAM = [58, 40, 68, 50]  # cut by the first tile's lower right corner
CORNER = [230, 140, 240, 150]
LARGE = [90, 60, 190, 130]  # wider than a tile
OBJECTS = [SEAM, CORNER, LARGE]


class SeesRectangles(Model):
    """Finds bright rectangles of LEAST pixels a side; the larger, the better."""

    def __init__(self):
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return (np.array(images[..., 0]),)

    def candidates(self, outputs, size, postprocess):
        if (outputs[0] == SPOILT).any():
            raise NotFinite("nan among the scores")
        _, _, stats, _ = cv2.connectedComponentsWithStats((outputs[0] > 128).astype(np.uint8))
        x, y, w, h, area = stats[1:].T
        boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
        found = Detections(boxes, (0.5 + area / 1e5).astype(np.float32), np.zeros(len(x), int))
        found = found.take((w >= LEAST) & (h >= LEAST))
        return found.take(np.argsort(-found.scores, kind="stable"))


def build(tiling=TILING, *, batch_size=4, mirror=False, **keys):
    postprocess = Postprocessor(
        score_threshold=0.05, candidates=100, nms_iou=0.6, max_detections=100
    )
    inference = Inference(
        SeesRectangles(), postprocess, sizes=[(TILE, TILE)], mirror=mirror, tiling=tiling,
        letterbox=keys.get("keep_aspect", False),
    )  # fmt: skip
    return Detector(inference, ("thing",), **{"keep_aspect": False, **keys}, batch_size=batch_size)


def picture(width, height, boxes):
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def found_boxes(detector, image):
    return sorted(detector.detect([image])[0].boxes.round().astype(int).tolist())


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("keep_aspect", [False, True])
def test_every_object_is_found_once(mirror, batch_size, keep_aspect):
    image = picture(240, 150, OBJECTS)
    detector = build(batch_size=batch_size, mirror=mirror, keep_aspect=keep_aspect)
    assert detector.views(image) == 16
    found = detector.detect([image])[0]
    assert len(found.boxes) == 3
    # a pixel of the whole image's input is 3.75 of its pixels, which bound the large object's box
    order = np.lexsort(found.boxes.T)
    expected = np.array(OBJECTS, np.float32)[np.lexsort(np.array(OBJECTS).T)]
    np.testing.assert_allclose(found.boxes[order], expected, atol=4)
    small = found.boxes[np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1) < 1000]
    assert sorted(small.tolist()) == sorted([SEAM, CORNER])
    calls = detector.inference.model.batches
    assert max(calls) == min(batch_size, 16) and sum(calls) == 16 * (2 if mirror else 1)


def test_a_small_object_is_left_to_the_tiles():
    """The whole image has it too, by an inexact box."""
    box = (103, 61, 133, 91)  # 8 x 13 pixels in its input, which begin at 101.25
    for overlap, is_left in ((0.9, True), (0.2, False)):
        detector = build(Tiling(TILE, TILE, overlap))
        detector.inference.merge = replace(detector.inference.merge, nms_iou=1.0)
        found = set(map(tuple, found_boxes(detector, picture(240, 150, [box]))))
        assert box in found and (found == {box}) == is_left


def test_a_signal_stops_between_batches_of_tiles():
    detector, interruption = build(batch_size=4), Interruption()
    detector.check = interruption.check
    detector.detect([picture(240, 150, OBJECTS)])
    batches = detector.inference.model.batches
    assert batches == [4] * 4

    def stop(images):
        interruption.signum = signal.SIGINT
        return SeesRectangles.forward(detector.inference.model, images)

    detector.inference.model.forward = stop
    with pytest.raises(Interrupted):
        detector.detect([picture(240, 150, OBJECTS)])
    assert batches == [4] * 5


def test_without_tiles_small_objects_are_lost():
    found = found_boxes(build(Tiling()), picture(240, 150, OBJECTS))
    assert len(found) == 1  # of two or three pixels in the input, the others are not seen


@pytest.mark.parametrize("size", [(64, 64), (50, 64), (40, 30), (1, 1)])
def test_an_image_of_a_tile_or_less_is_seen_as_without_tiles(size):
    image = picture(*size, [[2, 3, 30, 20]])
    tiled, whole = build(), build(Tiling())
    assert tiled.views(image) == 1
    found, expected = tiled.detect([image])[0], whole.detect([image])[0]
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_one_row_of_tiles():
    image = picture(200, 64, [[58, 10, 68, 20], [180, 54, 200, 64]])
    assert found_boxes(build(), image) == [[58, 10, 68, 20], [180, 54, 200, 64]]


def test_an_object_at_a_seam_that_is_larger_than_the_overlap():
    """Both tiles see a part of it, which does not count; the whole image has it."""
    boxes = [[20, 20, 100, 40]]  # overlaps of 16 pixels, 80 pixels wide
    found = build().detect([picture(120, 64, boxes)])[0]
    np.testing.assert_allclose(found.boxes, boxes, atol=2)


def test_several_images_in_batches_and_those_of_one_class():
    images = [picture(240, 150, [SEAM]), picture(64, 40, [[5, 5, 20, 20]]), picture(70, 70, [])]
    detector = build(batch_size=8)
    assert [len(objects.scores) for objects in detector(images)] == [1, 1, 0]
    assert detector.inference.model.batches == [8, 8, 6]  # 16, then 1 + 5


def test_files_without_colour_and_with_transparency(tmp_path):
    image = picture(240, 150, [SEAM])
    cv2.imwrite(str(tmp_path / "grey.png"), image[..., 0])
    cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(image, cv2.COLOR_RGB2RGBA))
    for objects in build()([tmp_path / "grey.png", tmp_path / "alpha.png"]):
        assert objects.boxes.tolist() == [SEAM]
    with pytest.raises(InputError, match="expected uint8"):
        build()(image[..., 0])


def test_groups_of_frames_fill_batches():
    def groups(needed, places):
        return [len(group) for group in filled(needed, places, lambda own: own)]

    assert groups([1] * 7, 3) == [3, 3, 1]
    assert groups([26] * 4, 16) == [1, 1, 1, 1]  # 26 of 32 places
    assert groups([9] * 4, 16) == [3, 1]  # 18 of 32 are too few
    assert groups([1, 1, 5, 1], 4) == [3, 1]  # 7 of 8
    assert groups([], 4) == []


def test_size_of_a_batch(tmp_path, small):
    cv2.imwrite(str(tmp_path / "a.png"), picture(240, 150, []))
    cv2.imwrite(str(tmp_path / "b.png"), picture(64, 64, []))
    (tmp_path / "bad.png").write_text("no image")
    paths = [tmp_path / name for name in ("b.png", "bad.png", "a.png")]
    tiled = small.replace(tiles=TILE, tile_overlap=0.25)

    def size(cfg, most, **inputs):
        return find_batch_size(cfg.replace(eval_batch_size=most), Inputs(**inputs))

    assert [size(small, most, images=paths) for most in (16, 2)] == [3, 2]
    assert [size(tiled, most, images=paths) for most in (16, 20)] == [16, 17]
    assert size(tiled, 16, images=paths[:2]) == 1
    assert size(tiled, 16, images=["http://host/a.jpg"]) == 16
    assert [size(cfg, 16, videos=[paths[0]]) for cfg in (small, tiled)] == [16, 16]
    assert [size(cfg, 16, videos=["0"]) for cfg in (small, tiled)] == [1, 16]


def test_tiles_on_canvases():
    """The whole image and the tiles are of different canvases."""
    canvases = ((64, 96), (96, 64))
    short_side = ShortSide(
        short=64, long=96, canvases=canvases, step=32, fill=(0, 0, 0), exact=True
    )
    detector = build(short_side=short_side, batch_size=3)
    image = picture(240, 150, [SEAM, CORNER])
    assert found_boxes(detector, image) == [SEAM, CORNER]
    assert detector.inference.model.batches == [1, 3, 3, 3, 3, 3]


def test_nan_in_one_tile_is_an_error_of_its_image_alone():
    spoilt = picture(240, 150, OBJECTS)
    spoilt[149, 0] = SPOILT
    frames = [Frame(name, image, 0) for name, image in (("a", spoilt), ("b", picture(9, 9, [])))]
    used = []
    done = list(predict(build(), frames, lambda frame, found: used.append(frame.path)))
    assert [frame.error for frame in done] == ["the network's outputs: nan among the scores", ""]
    assert used == ["b"]


@pytest.fixture
def split(tmp_path):
    """Three images, an unreadable one between them, and one that a tile holds."""
    sizes = [(240, 150), (200, 64), (64, 64), (240, 150), (100, 130)]
    drawn = [OBJECTS, [[58, 10, 68, 20]], [[5, 5, 20, 20]], None, [[60, 60, 70, 70]]]
    for number, (size, boxes) in enumerate(zip(sizes, drawn)):
        path = tmp_path / f"{number}.png"
        path.write_text("no image") if boxes is None else cv2.imwrite(
            str(path), picture(*size, boxes)
        )
    return split_of_images(tmp_path, sizes)


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (0, 5), (2, 3)])
def test_a_split_is_evaluated_as_its_images_are_predicted(split, workers, batch_size):
    detector = build(batch_size=batch_size)
    inference = detector.inference
    samples = EvalSamples(split, sizes=inference.sizes, keep_aspect=False, tiling=inference.tiling)
    found = detect_split(inference, samples, batch_size=batch_size, workers=workers)
    assert list(found.unreadable.messages) == [3] and not found.not_finite
    expected = [
        result_rows(10 + index, detector.detect([split[index].read()])[0], (1,))
        for index in (0, 1, 2, 4)
    ]
    assert [len(rows) for rows in expected] == [3, 1, 1, 1]
    np.testing.assert_array_equal(found.rows, np.concatenate(expected))


def test_ranks_divide_images_and_not_tiles(split):
    samples = EvalSamples(split, sizes=[(TILE, TILE)], keep_aspect=False, tiling=TILING)
    seen = []
    for rank in range(6):  # the last one has no image
        for batch in eval_batches(samples, batch_size=4, workers=0, rank=rank, ranks=6):
            assert len(set(batch.image_ids.tolist())) == 1
            seen += batch.image_ids.tolist()
            assert (batch.sizes == split.sizes[batch.image_ids - 10]).all()
    counts = [len(samples.tiling.windows(*size)) for size in split.sizes.tolist()]
    assert counts == [16, 5, 1, 16, 7] and seen == np.repeat(np.arange(10, 15), counts).tolist()


def test_an_image_is_read_once_for_all_its_tiles(split, monkeypatch):
    read = []
    original = Annotations.__getitem__

    def noted(self, index):
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(Annotations, "__getitem__", noted)
    samples = EvalSamples(
        split.take([0, 1]), sizes=[(TILE, TILE)], keep_aspect=False,
        tiling=TILING,
    )  # fmt: skip
    list(eval_batches(samples, batch_size=2, workers=0))
    assert read == [0, 1]


def test_nan_in_one_tile_of_a_split(split, tmp_path):
    spoilt = picture(240, 150, OBJECTS)
    spoilt[149, 0] = SPOILT
    cv2.imwrite(str(tmp_path / "0.png"), spoilt)
    inference = build().inference
    samples = EvalSamples(split, sizes=inference.sizes, keep_aspect=False, tiling=inference.tiling)
    found = detect_split(inference, samples, batch_size=4, workers=0)
    assert found.not_finite == ["image 10: nan among the scores"]
    assert found.rows[:, 0].tolist() == [11, 12, 14]


def test_the_best_of_each_tile_enter_suppression():
    """More objects than `candidates`, of which a tile has fewer."""
    boxes = [[x, y, x + 8, y + 8] for x in range(4, 300, 20) for y in range(4, 150, 20)]
    image = picture(310, 160, boxes)
    detector = build()
    assert len(boxes) == 120
    found = {}
    for most in (0, 100):
        postprocess = replace(detector.inference.postprocess, candidates=100, max_detections=most)
        inference = Inference(
            SeesRectangles(), postprocess, sizes=[(TILE, TILE)], mirror=False,
            tiling=detector.inference.tiling,
        )  # fmt: skip
        found[most] = replace(detector, inference=inference).detect([image])[0]
    assert sorted(found[0].boxes.tolist()) == boxes
    assert len(found[100].boxes) == 100
