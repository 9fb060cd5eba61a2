"""The graph's choice of predictions against the NumPy one."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.data.transforms import picture_window
from src.deploy.compare import equal_indices
from src.detection.boxes import clip
from src.detection.postprocess import Detections, Postprocessor, is_in_window
from src.models.candidates import Candidates, CheckedCandidates
from tests.references import random_boxes

A, K, SIZE = 50, 4, (80, 100)
CASES = [
    ("random", 3), ("random", 30), ("random", 1000), ("tied", 30), ("equal", 30), ("one box", 3),
]  # fmt: skip


class Outputs(nn.Cell):
    """Stands for a network: gives what it was made with."""

    def __init__(self, deltas, logits):
        super().__init__()
        self.num_classes = logits.shape[2]
        self.deltas, self.logits = ms.Tensor(deltas), ms.Tensor(logits)

    def construct(self, images):
        return self.deltas, self.logits


def make(kind):
    rng = np.random.default_rng(1)
    anchors = random_boxes(rng, A).astype(np.float32)
    deltas = rng.normal(0, 8, (2, A, 4)).astype(np.float32)  # some beyond the cap of sizes
    logits = rng.normal(0, 2, (2, A, K)).astype(np.float32)
    if kind == "tied":
        logits = np.round(logits)
    if kind == "equal":
        logits = np.full_like(logits, -1)
    if kind == "one box":
        logits[:, 7] += 100
    return anchors, deltas, logits


@pytest.mark.parametrize(("kind", "count"), CASES)
def test_the_best_in_order(kind, count):
    anchors, deltas, logits = make(kind)
    cell = Candidates(Outputs(deltas, logits), anchors, SIZE, count).set_train(False)
    boxes, scores, labels = (o.asnumpy() for o in cell(ms.Tensor(np.zeros(1, np.uint8))))
    assert cell.count == min(count, A * K)
    every = Postprocessor(score_threshold=0.0, candidates=count, nms_iou=1, max_detections=0)
    for row in range(2):
        wanted = every.decoded(deltas[row], logits[row], anchors)
        np.testing.assert_allclose(scores[row], wanted.scores, atol=1e-6)
        # of equal scores others may be chosen, but what is chosen has to be there, and once
        pool = Postprocessor(score_threshold=0.0, candidates=0, nms_iou=1, max_detections=0)
        pool = pool.decoded(deltas[row], logits[row], anchors)
        found = Detections(boxes[row], scores[row], labels[row])
        inside = Detections(clip(pool.boxes, SIZE[1], SIZE[0]), pool.scores, pool.labels)
        assert (inside.boxes != pool.boxes).any()
        assert (equal_indices(found, inside) >= 0).all()


@pytest.mark.parametrize(("kind", "count"), CASES)
def test_the_best_of_each_level(kind, count):
    anchors, deltas, logits = make(kind)
    levels = [37, 10, 2, 1]
    cell = Candidates(Outputs(deltas, logits), anchors, SIZE, count, levels).set_train(False)
    boxes, scores, labels = (o.asnumpy() for o in cell(ms.Tensor(np.zeros(1, np.uint8))))
    assert cell.count == scores.shape[1] == sum(min(count, K * size) for size in levels)
    keys = {"score_threshold": 0.0, "nms_iou": 1, "max_detections": 0}
    every = Postprocessor(candidates=0, per_level=count, **keys)
    pool = Postprocessor(candidates=0, **keys)
    for row in range(2):
        wanted = every.decoded(deltas[row], logits[row], anchors, levels)
        np.testing.assert_allclose(scores[row], wanted.scores, atol=1e-6)
        found = Detections(boxes[row], scores[row], labels[row])
        if kind in ("tied", "equal"):  # others may be chosen, each once
            wanted = pool.decoded(deltas[row], logits[row], anchors)
        inside = Detections(clip(wanted.boxes, SIZE[1], SIZE[0]), wanted.scores, wanted.labels)
        assert (equal_indices(found, inside) >= 0).all()


def test_what_lies_beside_the_picture_takes_no_place():
    """Two pictures of other sizes, at the top left and in the middle of 80 x 100 pixels."""
    anchors, deltas, logits = make("random")
    windows = np.array([[0, 0, 60, 80], [20, 10, 90, 70]])
    images = np.full((2, *SIZE, 3), (124, 116, 104), np.uint8)
    for image, (left, top, right, bottom) in zip(images, windows):
        image[top:bottom, left:right] = np.random.default_rng(0).integers(0, 256, 3)
        image[top, left], image[bottom - 1, right - 1] = 0, 255
        image[top + 5, left + 5] = (124, 116, 104)
        np.testing.assert_array_equal(picture_window(image), [left, top, right, bottom])
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    logits += 3 * ((centres[:, :1] > 60) | (centres[:, 1:] > 70))[None]  # better beside it
    cell = Candidates(Outputs(deltas / 8, logits), anchors, SIZE, 30, fill=(124, 116, 104))
    boxes, scores, labels = (o.asnumpy() for o in cell.set_train(False)(ms.Tensor(images)))
    for row in range(2):
        keys = {"score_threshold": 0.0, "candidates": 30, "nms_iou": 1, "max_detections": 0}
        free = Postprocessor(**keys).decoded(deltas[row] / 8, logits[row], anchors)
        wanted = Postprocessor(**keys, window=windows[row].astype(np.float32)).decoded(
            deltas[row] / 8, logits[row], anchors
        )
        assert is_in_window(free.boxes, windows[row]).sum() < 15  # of 30
        np.testing.assert_allclose(scores[row], wanted.scores, atol=1e-6)
        found = Detections(boxes[row], scores[row], labels[row])
        inside = Detections(clip(wanted.boxes, SIZE[1], SIZE[0]), wanted.scores, wanted.labels)
        assert (equal_indices(found, inside) >= 0).all()


def test_nothing_but_the_colour_around_pictures_has_no_candidate():
    anchors, deltas, logits = make("random")
    images = np.full((2, *SIZE, 3), (124, 116, 104), np.uint8)
    np.testing.assert_array_equal(picture_window(images[0]), [100, 80, 0, 0])
    cell = Candidates(Outputs(deltas / 8, logits), anchors, SIZE, 30, fill=(124, 116, 104))
    _, scores, _ = cell.set_train(False)(ms.Tensor(images))
    np.testing.assert_array_equal(scores.asnumpy(), np.zeros((2, 30)))


@pytest.mark.parametrize("output", [0, 1])
def test_nan_anywhere_in_an_image_shows_in_its_scores(output):
    anchors, *outputs = make("random")
    outputs[output][1, 13, 2] = np.nan  # of a prediction that is not among the best
    outputs[1][1, 13, [0, 1, 3]] = -50
    cell = CheckedCandidates(Candidates(Outputs(*outputs), anchors, SIZE, 5)).set_train(False)
    _, scores, _ = (o.asnumpy() for o in cell(ms.Tensor(np.zeros(1, np.uint8))))
    assert np.isfinite(scores[0]).all()
    assert np.isnan(scores[1]).all()
