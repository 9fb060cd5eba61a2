"""COCO's metric through the code that evaluates checkpoints."""

import json

import cv2
import numpy as np
import pytest

from src.data.dataset import build_annotations
from src.data.eval_loader import EvalSamples
from src.data.readers.coco_reader import read_coco
from src.data.readers.voc_reader import read_voc, voc_paths
from src.detection.postprocess import Postprocessor
from src.evaluation.coco_metric import METRICS, evaluate, ground_truth
from src.evaluation.detect import detect_split
from src.evaluation.results import BOX, CATEGORY, IMAGE, no_rows, write_results
from src.prediction.inference import Inference
from src.prediction.network_model import Model
from src.runtime.errors import InputError, NotFinite
from tests.datasets import object_xml
from tests.references import bare_coco_stats, slow_encode

CLASSES = ("background", "cat", "dog")


@pytest.fixture
def split(tmp_path):
    """Six non-square images with objects of all sizes, a crowd region and an empty image."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(6):
        width, height = [(400, 150), (130, 310), (200, 200)][index % 3]
        name = f"{index}.png"
        cv2.imwrite(str(tmp_path / name), np.zeros((height, width, 3), np.uint8))
        images.append({"id": 100 + index, "file_name": name, "width": width, "height": height})
        for _ in range(0 if index == 4 else 3):
            w, h = rng.uniform(10, width / 2), rng.uniform(10, height / 2)
            x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 + index,
                    "category_id": int(rng.choice([7, 90])),
                    "bbox": [float(v) for v in (x, y, w, h)],
                    "area": float(w * h),
                    "iscrowd": int(len(annotations) == 4),
                }
            )
    categories = [{"id": 90, "name": "cat"}, {"id": 7, "name": "dog"}]
    path = tmp_path / "instances.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return read_coco(path, tmp_path, CLASSES)[0]


class Oracle(Model):
    """A stand-in for the network that "predicts" given boxes.

    Boxes are in the network's pixels; anchor i of an image learns its box i perfectly.

    Args:
        boxes_per_image: (boxes (G,4), labels (G,)) in the order that the images come in.
    """

    def __init__(self, annotations, boxes_per_image):
        count = max(len(boxes) for boxes, _ in boxes_per_image)
        self.anchors = np.tile(np.array([[20, 20, 60, 60]], np.float32), (count, 1))
        self.classes = len(annotations.category_ids)
        self.served = iter(boxes_per_image)

    def forward(self, images):
        count = len(self.anchors)
        deltas = np.zeros((len(images), count, 4), np.float32)
        logits = np.full((len(images), count, self.classes), -20, np.float32)
        for n in range(len(images)):
            boxes, labels = next(self.served)
            if len(boxes):
                deltas[n, : len(boxes)] = [slow_encode(*pair) for pair in zip(boxes, self.anchors)]
                logits[n, np.arange(len(boxes)), labels] = 5
        return deltas, logits

    def candidates(self, outputs, size, postprocess):
        return postprocess.decoded(*outputs, self.anchors)


def truth_at(annotations, size, *, keep_aspect=False):
    """Ground truth of every image, crowds left out, in pixels of a (size, size) input."""
    rows = []
    for record in annotations:
        scale = np.array([size / record.width, size / record.height] * 2, np.float32)
        if keep_aspect:  # sides are whole pixels
            sides = np.array([record.width, record.height])
            scale = np.tile(np.round(sides * scale.min()) / sides, 2).astype(np.float32)
        own = ~record.crowd
        rows.append((record.boxes[own] * scale, record.labels[own]))
    return rows


def found_in(annotations, rows, size=320, *, keep_aspect=False, **limits):
    postprocess = Postprocessor(
        **{
            "score_threshold": 0.05,
            "nms_iou": 1.0,  # ground truth may overlap
            "candidates": 1000,
            "max_detections": 100,
            **limits,
        }
    )
    sizes = [(size, size)]
    inference = Inference(Oracle(annotations, rows), postprocess, sizes=sizes, mirror=False)
    samples = EvalSamples(annotations, sizes=sizes, keep_aspect=keep_aspect)
    return detect_split(inference, samples, batch_size=4, workers=0)


def results_of(annotations, rows, size=320, *, keep_aspect=False):
    found = found_in(annotations, rows, size, keep_aspect=keep_aspect)
    found.check()
    return found.rows


def test_ground_truth_as_detections_scores_one(split):
    results = results_of(split, truth_at(split, 320))
    metrics = evaluate(split, CLASSES, results)
    assert metrics.overall["AP"] == pytest.approx(1.0)
    assert metrics.overall["AR100"] == pytest.approx(1.0)
    assert metrics.by_class["AP"] == pytest.approx({"cat": 1.0, "dog": 1.0})
    assert set(results[:, CATEGORY]) == {7, 90}


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_boxes_come_back_in_the_image_s_own_pixels(split, keep_aspect):
    rows = truth_at(split, 320, keep_aspect=keep_aspect)
    results = results_of(split, rows, keep_aspect=keep_aspect)
    for record in split:
        own = results[results[:, IMAGE] == record.image_id, BOX]
        wanted = record.boxes[~record.crowd].copy()
        wanted[:, 2:] -= wanted[:, :2]
        order = np.lexsort(own.T), np.lexsort(wanted.T)
        np.testing.assert_allclose(own[order[0]], wanted[order[1]], atol=0.01)


def test_nothing_detected_gives_zero(split):
    empty = [(np.zeros((0, 4), np.float32), np.zeros(0, int)) for _ in range(len(split))]
    empty[0] = truth_at(split, 320)[0]
    results = found_in(split, empty, score_threshold=0.999).rows
    assert results.shape == (0, 7)
    metrics = evaluate(split, CLASSES, results)
    assert metrics.overall["AP"] == metrics.overall["AP50"] == 0
    assert metrics.by_class["AP"] == {"cat": 0, "dog": 0}


def test_numbers_equal_bare_pycocotools(split, tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for boxes, labels in truth_at(split, 320):
        shifted = boxes + rng.normal(0, 4, boxes.shape).astype(np.float32)
        shifted[:, 2:] = np.maximum(shifted[:, 2:], shifted[:, :2] + 5)
        rows.append((shifted, np.where(rng.random(len(labels)) < 0.2, 1 - labels, labels)))
    results = results_of(split, rows)
    path = tmp_path / "detections.json"
    write_results(path, results)
    metrics = evaluate(split, CLASSES, results)
    assert 0 < metrics.overall["AP"] < 1
    for name, value in zip(METRICS, bare_coco_stats(split.source, path)):
        if value < 0:
            assert np.isnan(metrics.overall[name])
        else:
            assert metrics.overall[name] == pytest.approx(value, rel=1e-12)


def test_split_without_objects_has_no_number_and_does_not_crash(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    path = tmp_path / "instances.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
                "annotations": [],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            }
        )
    )
    metrics = evaluate(read_coco(path, tmp_path, CLASSES)[0], CLASSES, no_rows())
    assert np.isnan(metrics.overall["AP"])


def test_embedded_data_set_has_crowds_and_scores_one(small):
    annotations = build_annotations(small, training=False)
    results = results_of(annotations, truth_at(annotations, 320))
    assert evaluate(annotations, small.classes, results).overall["AP"] == pytest.approx(1.0)


def test_class_numbers_belong_to_their_class(split):
    # only cats, whose category id is the larger one
    results = results_of(split, truth_at(split, 320))
    results = results[results[:, CATEGORY] == 90]
    metrics = evaluate(split, CLASSES, results)
    assert metrics.by_class["AP"] == pytest.approx({"cat": 1.0, "dog": 0.0})
    assert metrics.by_class["AP50"] == pytest.approx({"cat": 1.0, "dog": 0.0})


@pytest.mark.parametrize(
    "change", ["ids from 0", "one id", "no id", "no area", "no iscrowd", "null area", "text area"]
)
def test_missing_and_odd_fields(split, change):
    content = json.loads(split.source.read_bytes())
    for number, annotation in enumerate(content["annotations"]):
        if change == "ids from 0":
            annotation["id"] = number
        elif change == "one id":
            annotation["id"] = 5
        elif change.endswith("l area") or change.startswith("text"):
            annotation["area"] = None if change == "null area" else "400"
        elif change != "no iscrowd" or not annotation["iscrowd"]:
            del annotation[change.split()[1]]
    split.source.write_text(json.dumps(content))
    again = read_coco(split.source, split.image_dir, CLASSES)[0]
    metrics = evaluate(again, CLASSES, results_of(again, truth_at(again, 320)))
    assert metrics.overall["AP"] == pytest.approx(1.0)


@pytest.fixture
def difficult_split(tmp_path):
    """A Pascal VOC image of 200 x 200 with a cat, and a cat that is difficult."""
    root = tmp_path / "VOC"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    cv2.imwrite(str(root / "JPEGImages" / "a.jpg"), np.zeros((200, 200, 3), np.uint8))
    objects = object_xml("cat", (10, 10, 60, 60), False) + object_xml(
        "cat", (100, 100, 200, 200), True
    )
    (root / "Annotations" / "a.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    return read_voc(*voc_paths(str(root), "val"), CLASSES)[0]


def detection(box, score):
    return [1, *box, score, 1]


def test_difficult_objects_are_neither_found_nor_missed(difficult_split):
    hit = detection([10, 10, 50, 50], 0.5)
    ap = {}
    for name, more in {
        "alone": [],
        "on the difficult one": [detection([100, 100, 100, 100], 0.9)],
        "twice on it": [detection([100, 100, 100, w], 0.9) for w in (96, 98)],
        "a small one inside it": [detection([120, 120, 40, 40], 0.9)],
        "beside it": [detection([10, 100, 50, 50], 0.9)],
    }.items():
        ap[name] = evaluate(difficult_split, CLASSES, np.array([hit, *more])).overall["AP"]
    assert ap["alone"] == ap["on the difficult one"] == ap["twice on it"] == pytest.approx(1.0)
    # within a crowd of COCO's the small one would not count; here it is as wrong as any other
    assert ap["a small one inside it"] == ap["beside it"] == pytest.approx(0.5)
    assert evaluate(difficult_split, CLASSES, no_rows()).overall["AR100"] == 0


def test_ground_truth_made_from_arrays(difficult_split):
    truth = ground_truth(difficult_split, CLASSES)
    assert truth["images"] == [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 200}]
    assert truth["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    first, second = truth["annotations"]
    assert first == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10, 10, 50, 50],
        "area": 2500,
        "iscrowd": 0,
    }
    assert (second["iscrowd"], second["bbox"]) == (1, [100, 100, 100, 100])


def test_unreadable_images_have_no_detections(split):
    rows = truth_at(split, 320)
    record = split[1]
    record.path.write_bytes(b"")
    found = found_in(split, rows)
    assert set(found.rows[:, IMAGE]) == {100, 102, 103, 105}  # 104 has no objects
    assert list(found.unreadable.messages) == [1]
    with pytest.raises(InputError, match=r"1 of 6 images unreadable(.|\n)*1\.png: is empty"):
        found.check()


def test_dropped_categories_are_not_in_the_ground_truth(split):
    with_others = read_coco(split.source, split.image_dir, CLASSES[:2], drop_unlisted=True)[0]
    truth = ground_truth(with_others, CLASSES[:2])
    assert [entry["name"] for entry in truth["categories"]] == ["cat"]
    assert {entry["category_id"] for entry in truth["annotations"]} == {90}
    assert len(truth["images"]) == len(split)


def test_outputs_that_are_no_numbers_name_their_image(split):
    rows = truth_at(split, 320)
    rows[2] = (np.full_like(rows[2][0], np.nan), rows[2][1])
    found = found_in(split, rows)
    assert set(found.rows[:, IMAGE]) == {100, 101, 103, 105}
    with pytest.raises(NotFinite, match="image 102: a box that is nan"):
        found.check()
