"""AP of a converted detector by eval.py, and torchvision's own by pycocotools."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import eval as eval_command
from src.deploy.compare import equal_indices
from src.detection.postprocess import Detections
from src.evaluation.coco_metric import METRICS
from src.weights.checkpoint_file import write_detector
from src.weights.detectors import converted, find_detector
from tests.weights.golden.drawn_split import LONG, SHORT, SIZES, drawing
from tests.weights.golden.seeded_detector import ROWS, UNNAMED, detector_weights
from tests.weights.shapes import small_shapes

GOLDEN = Path(__file__).parents[1] / "weights" / "golden"
IDS = np.setdiff1d(np.arange(ROWS), UNNAMED).tolist()  # of COCO's categories
CANVAS = [160, 224]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "retinanet_ap.npz") as file:
        return dict(file)


def write_split(folder: Path, objects: np.ndarray, names) -> None:
    """The pictures and the objects as a split of COCO's format."""
    (folder / "val2017").mkdir()
    (folder / "annotations").mkdir()
    for number in range(len(SIZES)):
        cv2.imwrite(str(folder / f"val2017/{number}.png"), drawing(number)[..., ::-1])
    content = {
        "images": [
            {"id": i + 1, "file_name": f"{i}.png", "height": height, "width": width}
            for i, (height, width) in enumerate(SIZES)
        ],
        "annotations": [
            {
                "id": index + 1, "image_id": int(row[0]), "category_id": int(row[6]),
                "bbox": row[1:5].tolist(), "area": row[3] * row[4], "iscrowd": 0,
            }
            for index, row in enumerate(objects)
        ],
        "categories": [{"id": i, "name": name} for i, name in zip(IDS, names)],
    }  # fmt: skip
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(content))


def in_image(rows: np.ndarray, image: int) -> Detections:
    """Those of the detections (R,7) in COCO's array form that are in an image, best first."""
    own = rows[rows[:, 0] == image]
    own = own[np.argsort(-own[:, 5], kind="stable")]
    corners = np.concatenate([own[:, 1:3], own[:, 1:3] + own[:, 3:5]], axis=1)
    return Detections(corners, own[:, 5], own[:, 6].astype(int))


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_ap_is_torchvisions(golden, tmp_path, monkeypatch, capsys):
    found = find_detector(detector_weights(small_shapes()), "v2.pth")
    path = tmp_path / "v2.ckpt"
    write_detector(path, converted(found, "v2.pth", frozen_epsilon=None), found.config.to_yaml())
    write_split(tmp_path, golden["objects"], found.config.classes[1:])
    monkeypatch.chdir(tmp_path)
    eval_command.main(
        [
            "--checkpoint_path=v2.ckpt", "--coco_root=.", f"--image_size={CANVAS}",
            f"--short_side={SHORT}", f"--long_side={LONG}",
            "--eval_batch_size=2", "--num_workers=0", "--report=False", "--output_path=out",
        ]
    )  # fmt: skip
    assert "at most 160 x 224, upright or across" in capsys.readouterr().out
    overall = json.loads((tmp_path / "out/report/metrics.json").read_text())["overall"]
    assert 0.1 < golden["stats"][0] < 0.9
    assert list(overall.values()) == pytest.approx(golden["stats"].tolist(), abs=1e-3)
    assert list(overall) == list(METRICS)
    entries = json.loads((tmp_path / "out/detections.json").read_text())
    rows = np.array([[e["image_id"], *e["bbox"], e["score"], e["category_id"]] for e in entries])
    for number in range(len(SIZES)):
        ours, theirs = in_image(rows, number + 1), in_image(golden["found"], number + 1)
        assert len(ours.scores) == len(theirs.scores) == 300
        # where two scores are near-tied, either may suppress the other or be the last
        assert (equal_indices(ours, theirs) >= 0).mean() > 0.98
