import json

import numpy as np
import pytest

from src.data.dataset import build_annotations
from src.data.readers.coco_reader import read_coco
from src.detection.postprocess import build_postprocessor
from src.evaluation.coco_metric import evaluate, ground_truth
from src.evaluation.protocol import build_protocol, unusual_settings
from src.runtime.errors import InputError
from tests.datasets import make_rows, make_split

BOX = (0, 0, 40, 40)


def test_coco_counts_every_image(small):
    protocol = build_protocol(small.replace(score_threshold=0.01, max_detections=50))
    assert str(protocol) == "protocol coco (scores above 0.01, 50 detections an image)"
    annotations = make_split([[], [(BOX, 0)], [(BOX, 0, True)]], classes=1)
    assert protocol.images_of(annotations) is annotations
    limits = {"score_threshold": 0.01, "max_detections": 50, "max_per_class": 0}
    assert protocol.limits() == limits


def test_legacy_leaves_out_images_without_objects_and_with_crowds(small):
    for key, value in {"score_threshold": 0.01, "max_detections": 50}.items():
        with pytest.raises(InputError, match=f"{key} is {value}, but protocol legacy has its own"):
            build_protocol(small.replace(protocol="legacy", **{key: value}))
    protocol = build_protocol(small.replace(protocol="legacy"))
    assert str(protocol).startswith("protocol legacy (scores above 0.1, 100 detections a class")
    annotations = make_split(
        [[], [(BOX, 0)], [(BOX, 0), (BOX, 0, True)], [(BOX, 0, True)], [(BOX, 0)]], classes=1
    )
    assert protocol.images_of(annotations).image_ids.tolist() == [2, 5]
    with pytest.raises(InputError, match=r"split\.json: no image counts in protocol legacy"):
        protocol.images_of(make_split([[], [(BOX, 0, True)]], classes=1))
    assert protocol.limits() == {
        "score_threshold": 0.1,
        "max_detections": 0,
        "max_per_class": 100,
        "candidates": 10_000,
        "per_level": 0,
    }


def test_only_its_images_are_in_the_ground_truth_and_the_metric(small):
    annotations = build_annotations(small, training=False)
    counted = build_protocol(small.replace(protocol="legacy")).images_of(annotations)
    assert 0 < len(counted) < len(annotations)
    truth = ground_truth(counted, small.classes)
    ids = set(counted.image_ids.tolist())
    assert {image["id"] for image in truth["images"]} == ids
    assert {entry["image_id"] for entry in truth["annotations"]} == ids
    assert not any(entry["iscrowd"] for entry in truth["annotations"])
    rows = np.array(
        [[e["image_id"], *e["bbox"], 0.5, e["category_id"]] for e in truth["annotations"]]
    )
    assert evaluate(counted, small.classes, rows).overall["AP"] == pytest.approx(1)


def test_settings_that_are_not_the_usual_ones_are_named(small):
    assert unusual_settings(small) == ""
    cfg = small.replace(suppression="soft", tta_scales=[0.5, 1.0], class_agnostic=True)
    assert unusual_settings(cfg) == ", suppression=soft, class_agnostic=True, tta_scales=[0.5, 1.0]"


def test_more_detections_than_the_metric_counts_of_a_class(small):
    protocol = build_protocol(small.replace(max_detections=300))
    assert "300 detections an image, of which AP counts 100 a class" in str(protocol)
    assert protocol.limits()["max_detections"] == 300
    # AP counts the best 100 of each class, whatever comes before them in the image
    annotations = make_split([[(BOX, 0), (BOX, 1)]], classes=2)
    false = [(0, (50, 50, 90, 90), 0, 0.9)] * 150
    rows = make_rows(*false, (0, BOX, 0, 0.8), (0, BOX, 1, 0.7))
    found = evaluate(annotations, ("background", "a", "b"), rows)
    assert found.by_class["AP"] == {"a": 0, "b": pytest.approx(1)}


def test_image_ids_that_results_cannot_hold(small):
    annotations = make_split([[(BOX, 0)]], classes=1)
    annotations.image_ids[0] = 2**53 + 1
    with pytest.raises(InputError, match="image id 9007199254740993"):
        build_protocol(small).images_of(annotations)


@pytest.mark.slow
def test_legacy_caps_the_candidates_of_an_untrained_network(small):
    protocol = build_protocol(small.replace(protocol="legacy"))
    postprocess = build_postprocessor(small, **protocol.limits())
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 500, (5000, 2))
    anchors = np.concatenate([corners, corners + 20], axis=1).astype(np.float32)
    found = postprocess.decoded(
        np.zeros((5000, 4), np.float32), rng.normal(3, 1, (5000, 20)).astype(np.float32), anchors
    )
    assert len(found.scores) == 10_000
    kept = postprocess([found.in_image(np.ones(2), np.array([640, 640]))])
    assert set(np.bincount(kept.labels).tolist()) == {100}


def test_the_whole_file_is_read_back_as_it_is(small, tmp_path):
    annotations = build_annotations(small, training=False)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(ground_truth(annotations, small.classes)))
    again, _ = read_coco(path, annotations.image_dir, small.classes)
    np.testing.assert_array_equal(again.boxes, annotations.boxes)
    np.testing.assert_array_equal(again.crowd, annotations.crowd)
