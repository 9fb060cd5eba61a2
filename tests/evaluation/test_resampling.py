"""The bootstrap of AP's difference against pycocotools' evaluation of resampled sets."""

import contextlib
import io
import json

import numpy as np
import pycocotools.coco
import pytest
from pycocotools.cocoeval import COCOeval

from benchmarks.evaluation_data import generated_split
from src.data.annotations import DIFFICULT
from src.data.readers.coco_reader import read_coco
from src.evaluation.coco_metric import evaluate, ground_truth
from src.evaluation.resampling import match_classes, resampled_difference, weighted_ap
from tests.datasets import make_rows, make_split

CLASSES = ("background", *(f"class {k}" for k in range(4)))
BOX = (10, 10, 50, 50)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A split of 30 images with crowds, and 40 detections in each."""
    folder = tmp_path_factory.mktemp("generated")
    generated_split(folder, 30, 40, classes=4)
    content = json.loads((folder / "truth.json").read_text())
    for entry in content["annotations"][::15]:
        entry["iscrowd"] = 1
    (folder / "truth.json").write_text(json.dumps(content))
    annotations, _ = read_coco(folder / "truth.json", folder, CLASSES)
    return annotations, np.load(folder / "detections.npy")


def worse(rows):
    """The detections with other scores and moved boxes."""
    rng, rows = np.random.default_rng(5), rows.copy()
    rows[:, 5] = (rows[:, 5] * rng.uniform(0.5, 1, len(rows))).round(6)
    rows[:, 1:3] += rng.normal(0, 6, (len(rows), 2))
    return rows


def slow_ap(truth, rows, drawn):
    """AP of the images `drawn`, by pycocotools alone; one that is drawn again has another id."""
    images, objects, found = [], [], []
    for new, index in enumerate(np.sort(drawn).tolist(), 1):
        old = truth["images"][index]["id"]
        images.append({**truth["images"][index], "id": new})
        for entry in truth["annotations"]:
            if entry["image_id"] == old:
                objects.append({**entry, "image_id": new, "id": len(objects) + 1})
        for _, x, y, w, h, score, category in rows[rows[:, 0] == old].tolist():
            box = {"bbox": [x, y, w, h], "score": score, "category_id": int(category)}
            found.append({**box, "image_id": new})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = pycocotools.coco.COCO()
        coco.dataset = {**truth, "images": images, "annotations": objects}
        coco.createIndex()
        metric = COCOeval(coco, coco.loadRes(found), "bbox")
        metric.evaluate()
        metric.accumulate()
        metric.summarize()
    return metric.stats[0]


def test_resamples_are_those_of_pycocotools(generated):
    annotations, rows = generated
    truth, images = ground_truth(annotations, CLASSES), len(annotations)
    assert annotations.crowd.sum() > 10
    matches = match_classes(annotations, truth, rows)
    rng = np.random.default_rng(2)
    # the last has few images, so that a class may have no object
    draws = [*rng.integers(images, size=(3, images)), rng.integers(2, size=images)]
    weights = np.stack([np.bincount(drawn, minlength=images) for drawn in draws])
    expected = [slow_ap(truth, rows, drawn) for drawn in draws]
    assert 0.1 < min(expected) < max(expected) < 0.9
    np.testing.assert_allclose(weighted_ap(matches, weights), expected, atol=1e-12)
    whole = evaluate(annotations, CLASSES, rows).overall["AP"]
    assert weighted_ap(matches, np.ones((1, images), int))[0] == pytest.approx(whole)


def test_difference_is_paired_and_seeded(generated):
    annotations, rows = generated
    truth, images = ground_truth(annotations, CLASSES), len(annotations)
    pair = [match_classes(annotations, truth, each) for each in (rows, worse(rows))]
    found = resampled_difference(*pair, seed=3, resamples=60)
    # by hand, one resample at a time
    rng, differences = np.random.default_rng(3), []
    for size in (50, 10):
        for drawn in rng.integers(images, size=(size, images)):
            weights = np.bincount(drawn, minlength=images)[None]
            one, other = (weighted_ap(each, weights)[0] for each in pair)
            differences.append(one - other)
    assert (found.low, found.high) == pytest.approx(np.percentile(differences, [2.5, 97.5]))
    assert found.low < found.measured < found.high
    assert found.higher == np.mean(np.array(differences) > 0)
    assert resampled_difference(*pair, seed=3, resamples=60) == found
    assert resampled_difference(*pair, seed=4, resamples=60).low != found.low
    same = resampled_difference(pair[0], pair[0], seed=3, resamples=60)
    assert (same.measured, same.low, same.high, same.higher) == (0, 0, 0, 0)


@pytest.mark.parametrize("regions", ["of crowds", DIFFICULT])
def test_a_split_by_hand(regions):
    """Two images, of which one is found at all IoUs and the other not."""
    annotations = make_split([[(BOX, 0)], [(BOX, 0), (BOX, 1, True)]], classes=2, regions=regions)
    rows = make_rows((0, BOX, 0, 0.9), (1, BOX, 1, 0.8), (1, (60, 60, 90, 90), 0, 0.95))
    truth = ground_truth(annotations, ("background", "a", "b"))
    matches = match_classes(annotations, truth, rows)
    # the first alone, the second alone; both: half of the objects, at precision 1/2, as 51 of
    # the 101 recalls; none
    weights = np.array([[1, 0], [0, 1], [1, 1], [3, 3], [0, 0]])
    expected = [1, 0, 51 / 101 / 2, 51 / 101 / 2, np.nan]
    np.testing.assert_allclose(weighted_ap(matches, weights), expected)


def test_no_object_at_all():
    annotations = make_split([[], []], classes=1)
    truth = ground_truth(annotations, ("background", "a"))
    matches = match_classes(annotations, truth, make_rows((0, BOX, 0, 0.9)))
    found = resampled_difference(matches, matches, seed=1, resamples=10)
    assert np.isnan([found.measured, found.low, found.high, found.higher]).all()
