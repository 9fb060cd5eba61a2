import cv2
import numpy as np
import pytest
from src.evaluation.report import metrics_table, save_pictures

from src.data.dataset import build_annotations
from src.data.drawing import draw_box
from src.evaluation.coco import METRICS, Metrics


def test_table_shows_every_number():
    overall = {name: 0.1 + index / 100 for index, name in enumerate(METRICS)}
    overall["AP_large"] = float("nan")
    table = metrics_table(
        Metrics(overall, {"cat": 0.5, "hot dog": float("nan")}, {"cat": 0.75, "hot dog": 0.25}),
        "title",
    )
    lines = table.splitlines()
    assert lines[0] == "title"
    assert lines[2].split() == ["0.100", "0.110", "0.120", "0.130", "0.140", "-"]
    assert lines[-2].split() == ["cat", "0.500", "0.750"]
    assert lines[-1].split() == ["hot", "dog", "-", "0.250"]


def test_draw_box_touches_its_edges():
    image = np.zeros((60, 80, 3), np.uint8)
    draw_box(image, np.array([10, 30, 50, 55]), "a", (0, 255, 0))
    assert image[40, 10].tolist() == [0, 255, 0]
    assert image[40, 49].tolist() == [0, 255, 0]
    assert image[40, 30].tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [0, 3, 1000])
def test_pictures_show_truth_and_detections(small, tmp_path, count):
    annotations = build_annotations(small, training=False)
    found = [
        {
            "image_id": record.image_id,
            "category_id": annotations.category_ids[0],
            "bbox": [5.0, 5.0, 20.0, 30.0],
            "score": 0.9,
        }
        for record in annotations
    ]
    paths = save_pictures(annotations, small.classes, found, tmp_path / "p", count)
    assert len(paths) == min(count, len(annotations))
    if count:
        assert {int(path.stem) for path in paths} <= {record.image_id for record in annotations}
        picture = cv2.imread(str(paths[0]))
        plain = save_pictures(annotations, small.classes, [], tmp_path / "q", count)
        changed = (picture != cv2.imread(str(plain[0]))).any(axis=(0, 2))
        # the detection is drawn in the right half alone
        assert changed.any()
        assert not changed[: picture.shape[1] // 2].any()
