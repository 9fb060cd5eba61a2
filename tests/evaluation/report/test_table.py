import numpy as np

from src.evaluation.coco_metric import METRICS, Metrics
from src.evaluation.report.table import metrics_table

BY_CLASS = {
    "AP": {"cat": 0.5, "hot dog": float("nan")},
    "AP50": {"cat": 0.75, "hot dog": 0.25},
}


def table(overall, by_class):
    return metrics_table(Metrics(overall, by_class, {}, np.zeros(0)), "title").splitlines()


def test_table_shows_every_number():
    overall = {name: 0.1 + index / 100 for index, name in enumerate(METRICS)}
    overall["AP_large"] = float("nan")
    lines = table(overall, BY_CLASS)
    assert lines[0] == "title"
    assert lines[2].split() == ["0.100", "0.110", "0.120", "0.130", "0.140", "-"]
    assert lines[5].split() == ["class", "AP", "AP50"]
    assert lines[-2].split() == ["cat", "0.500", "0.750"]
    assert lines[-1].split() == ["hot", "dog", "-", "0.250"]


def test_voc_adds_its_own_numbers():
    overall = {**dict.fromkeys(METRICS, 0.5), "VOC50": 0.6, "VOC07": 0.7}
    lines = table(overall, {**BY_CLASS, "VOC50": {"cat": 0.6, "hot dog": 0.625}})
    assert lines[5].split() == ["VOC50", "VOC07"]
    assert lines[6].split() == ["0.600", "0.700"]
    assert lines[-1].split() == ["hot", "dog", "-", "0.250", "0.625"]
