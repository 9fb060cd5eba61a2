import json

import numpy as np

from src.detection.postprocess import Detections
from src.evaluation import results
from src.evaluation.results import no_rows, result_rows, write_results


def test_rows_and_file(tmp_path, monkeypatch):
    found = Detections(
        np.array([[1.23456, 2, 11.23456, 7.00049], [0, 0, 3, 4]], np.float32),
        np.array([0.98765432, 0.5], np.float32),
        np.array([1, 0]),
    )
    rows = result_rows(7, found, (30, 10))
    assert rows.tolist() == [
        [7, 1.235, 2, 10, 5, 0.987654, 10],
        [7, 0, 0, 3, 4, 0.5, 30],
    ]
    monkeypatch.setattr(results, "CHUNK_ROWS", 1)
    write_results(tmp_path / "new" / "d.json", rows)
    assert json.loads((tmp_path / "new" / "d.json").read_text()) == [
        {"image_id": 7, "category_id": 10, "bbox": [1.235, 2, 10, 5], "score": 0.987654},
        {"image_id": 7, "category_id": 30, "bbox": [0, 0, 3, 4], "score": 0.5},
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["d.json"]


def test_no_detections(tmp_path):
    write_results(tmp_path / "d.json", no_rows())
    assert json.loads((tmp_path / "d.json").read_text()) == []
