"""Pascal VOC's metric against the development kit's procedure in plain Python."""

import numpy as np
import pytest

from src.data.annotations import DIFFICULT
from src.evaluation.voc_metric import voc_ap50
from tests.datasets import make_rows, make_split
from tests.references import slow_iou


def slow_voc(annotations, rows, label, points):
    """AP of a class as the kit computes it, one detection after the other."""
    truth = {
        int(record.image_id): [
            {"box": box.tolist(), "difficult": bool(crowd), "found": False}
            for box, own, crowd in zip(record.boxes, record.labels, record.crowd)
            if own == label
        ]
        for record in annotations
    }
    count = sum(not o["difficult"] for objects in truth.values() for o in objects)
    hits, false, curve = 0, 0, []
    for image_id, x, y, w, h, _, _ in sorted(
        (row for row in rows.tolist() if row[6] == label + 1), key=lambda row: -row[5]
    ):
        box = (x, y, x + w, y + h)
        nearest = max(truth[int(image_id)], key=lambda o: slow_iou(o["box"], box), default=None)
        if nearest is not None and slow_iou(nearest["box"], box) >= 0.5:
            if nearest["difficult"]:
                continue
            if nearest["found"]:
                false += 1
            else:
                hits += 1
                nearest["found"] = True
        else:
            false += 1
        curve.append((hits / count, hits / (hits + false)))
    if points == 11:
        levels = [max((p for r, p in curve if r >= t), default=0) for t in np.linspace(0, 1, 11)]
        return sum(levels) / 11
    recalls = [0.0] + [r for r, _ in curve] + [1.0]
    precisions = [0.0] + [p for _, p in curve] + [0.0]
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return sum((recalls[i + 1] - recalls[i]) * precisions[i + 1] for i in range(len(recalls) - 1))


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_development_kit(seed):
    rng = np.random.default_rng(seed)
    images, detections = [], []
    for image in range(30):
        objects = []
        for _ in range(rng.integers(0, 6)):
            x, y, w, h = *rng.integers(0, 60, 2), *rng.integers(10, 40, 2)
            box, label = (x, y, x + w, y + h), int(rng.integers(0, 2))
            objects.append((box, label, bool(rng.random() < 0.2)))
            for _ in range(rng.integers(0, 4)):
                shifted = np.array(box) + rng.integers(-6, 7, 4)
                guess = label if rng.random() < 0.8 else 1 - label
                detections.append((image, tuple(shifted), guess, float(rng.random())))
        images.append(objects)
    annotations = make_split(images, classes=2, regions=DIFFICULT)
    rows = make_rows(*detections)
    area, eleven = voc_ap50(annotations, ("background", "a", "b"), rows)
    for label, name in enumerate("ab"):
        assert 0 < area[name] < 1
        assert area[name] == pytest.approx(slow_voc(annotations, rows, label, 0))
        assert eleven[name] == pytest.approx(slow_voc(annotations, rows, label, 11))


def test_literal_case():
    box = (0, 0, 40, 40)
    annotations = make_split([[(box, 0)], [(box, 0), ((50, 50, 90, 90), 0, True)]], classes=2)
    rows = make_rows(
        (0, box, 0, 0.9),
        (0, box, 0, 0.8),  # a second one on it is wrong
        (1, (50, 50, 90, 90), 0, 0.7),  # a difficult object counts as nothing
        (1, box, 0, 0.6),
    )
    area, eleven = voc_ap50(annotations, ("background", "a", "b"), rows)
    assert area["a"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert eleven["a"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert np.isnan(area["b"])
    assert np.isnan(eleven["b"])


def test_nothing_detected():
    annotations = make_split([[((0, 0, 9, 9), 0)]], classes=1)
    assert voc_ap50(annotations, ("background", "a"), make_rows()) == ({"a": 0}, {"a": 0})


def test_no_object_at_all():
    area, _ = voc_ap50(
        make_split([[]], classes=1), ("background", "a"), make_rows((0, (0, 0, 9, 9), 0, 0.9))
    )
    assert np.isnan(area["a"])
