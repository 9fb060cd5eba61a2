"""Reading an earlier evaluation, and comparing with it."""

import json

import numpy as np
import pytest

from src.evaluation.coco_metric import evaluate, ground_truth
from src.evaluation.comparison import compare, read_other
from src.evaluation.results import write_results
from src.runtime.errors import InputError
from tests.datasets import make_rows, make_split

CLASSES = ("background", "cat", "dog")
BOX, LOW = (10, 10, 50, 50), (10, 14, 50, 54)


@pytest.fixture
def split():
    return make_split([[(BOX, 0)], [(BOX, 1)], []], classes=2)


@pytest.fixture
def run(split, tmp_path):
    """A run's folder with the evaluation of its best checkpoint."""
    folder = tmp_path / "run" / "eval" / "best"
    write_results(folder / "detections.json", make_rows((0, BOX, 0, 0.9), (1, LOW, 1, 0.8)))
    truth = ground_truth(split, CLASSES)
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    (folder / "report").mkdir()
    (folder / "report" / "metrics.json").write_text('{"title": "old.ckpt on split", "x": 1}')
    return tmp_path / "run"


def change(run, edit):
    path = run / "eval" / "best" / "ground_truth.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_run_or_folder_is_read(split, run):
    truth = ground_truth(split, CLASSES)
    for path in (run, run / "eval" / "best"):
        other = read_other(str(path), truth)
        assert other.title == "old.ckpt on split"
        expected = make_rows((0, BOX, 0, 0.9), (1, LOW, 1, 0.8))
        np.testing.assert_allclose(other.rows, expected)


def test_classes_are_those_of_their_names(split, run):
    def renumber(content):
        content["categories"] = [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}]
        for entry in content["annotations"]:
            entry["category_id"] = 3 - entry["category_id"]

    change(run, renumber)
    other = read_other(str(run), ground_truth(split, CLASSES))
    assert other.rows[:, 6].tolist() == [2, 1]


def other_image(content):
    content["images"][1]["file_name"] = "other.jpg"


def fewer_images(content):
    content["images"].pop()


def other_class(content):
    content["categories"][0]["name"] = "cow"


def moved(content):
    content["annotations"][1]["bbox"][0] += 1


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (other_image, "images are not those of this evaluation: it lacks 1 and has 1 others"),
        (fewer_images, "it lacks 1 and has 0 others, first (3, '2.jpg', "),
        (other_class, "classes are not those of this evaluation: it lacks 1 and has 1 others"),
        (moved, "objects are not those of this evaluation: it lacks 1 and has 1 others, first (2"),
        (lambda content: content.pop("images"), "required field `images`; evaluate that detector"),
    ],
)
def test_other_ground_truth_is_refused(split, run, edit, expected):
    change(run, edit)
    with pytest.raises(InputError) as caught:
        read_other(str(run), ground_truth(split, CLASSES))
    assert expected in str(caught.value)
    assert "ground_truth.json" in str(caught.value) and "\n" not in str(caught.value)


def test_folders_that_are_none(split, run, tmp_path):
    truth = ground_truth(split, CLASSES)

    def refused(path):
        with pytest.raises(InputError) as caught:
            read_other(str(path), truth)
        return str(caught.value)

    assert "no such folder" in refused(tmp_path / "none")
    assert f"; there is {run}; give that of a run" in refused(tmp_path / "RUN")
    assert "no detections.json in it or in eval/best; evaluate that" in refused(tmp_path)
    best = run / "eval" / "best"
    best.rename(run / "eval" / "a")
    read_other(str(run), truth)  # the only one
    write_results(run / "eval" / "b" / "detections.json", make_rows())
    assert "several evaluations; give one of " in refused(run)
    assert "b/ground_truth.json: No such file" in refused(run / "eval" / "b")
    (run / "eval" / "a" / "detections.json").write_text('[{"image_id": 1}]')
    assert "a/detections.json: Object missing required field" in refused(run / "eval" / "a")
    stranger = make_rows((7, BOX, 0, 0.9))
    write_results(run / "eval" / "a" / "detections.json", stranger)
    assert "detections in image 8, which is not in ground_truth" in refused(run / "eval" / "a")


def test_comparison_by_hand(split, run):
    truth = ground_truth(split, CLASSES)
    rows = make_rows((0, BOX, 0, 0.9), (1, BOX, 1, 0.8))
    found = compare(split, CLASSES, truth, rows, read_other(str(run), truth), seed=1, resamples=200)
    # the moved box has IoU 36/44 = 0.818, above 7 of the 10 IoUs
    assert found.metrics.overall["AP"] == pytest.approx(0.85)
    assert found.difference.measured == pytest.approx(0.15)
    # from cats alone, 0, to dogs alone, 0.3
    assert (found.difference.low, found.difference.high) == pytest.approx((0, 0.3))
    assert found.text() == (
        "AP +0.150 against old.ckpt on split; of 200 resamples of the images 95 % are between "
        "+0.000 and +0.300: no clear difference"
    )
    assert found.to_dict()["difference"]["resamples"] == 200
    assert evaluate(split, CLASSES, rows).overall["AP"] == pytest.approx(1)
