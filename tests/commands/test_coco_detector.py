"""A file of torchvision's, from its conversion to predictions, fine-tuning and an exported file."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from src.detection.boxes import area, iou
from tests.programs import call, run
from tests.runs import records
from tests.weights.golden import seeded_detector as seeded
from tests.weights.shapes import SHAPES, small_shapes

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "weights" / "golden" / "retinanet.npz"
SIDES = (  # small ones, since seeded weights need no more; else the commands are those of README
    f"--image_size=[{seeded.MIN_SIDE},{seeded.MAX_SIDE}]",
    f"--short_side={seeded.MIN_SIDE}",
    f"--long_side={seeded.MAX_SIDE}",
)


def convert(shapes: dict, folder: Path) -> tuple[Path, str]:
    """The checkpoint of a converted file with seeded weights, and what the command printed."""
    source, target = folder / "retinanet_v2.safetensors", folder / "retinanet_v2.ckpt"
    save_file(seeded.detector_weights(shapes), source)
    process = run("-m", "src.weights", source, target)
    assert process.returncode == 0, process.stderr
    source.unlink()
    return target, process.stdout


def test_two_commands_detect_what_torchvision_detects(tmp_path):
    checkpoint, printed = convert(SHAPES["v2"], tmp_path)
    assert f"python3 predict.py --checkpoint_path={checkpoint} --input=photo.jpg" in printed
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(len(seeded.SIDES)):
        cv2.imwrite(str(photos / f"{number}.png"), seeded.picture(number)[..., ::-1])
    flags = (f"--checkpoint_path={checkpoint}", f"--input={photos}", f"--output={tmp_path / 'out'}")
    call("predict", *flags, *SIDES)
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    with np.load(GOLDEN) as golden:
        names = dict(zip(np.setdiff1d(np.arange(seeded.ROWS), seeded.UNNAMED), golden["names"]))
        for number, own in enumerate(sorted(found, key=lambda one: one["file"])):
            boxes, scores, labels = (
                golden[f"v2.alone.{key}.{number}"] for key in ("boxes", "scores", "labels")
            )
            inside = area(boxes) > 0  # torchvision keeps those in the margin
            wanted = [
                (names[label], score, box)
                for label, score, box in zip(labels[inside], scores[inside], boxes[inside])
            ]
            same = [is_among(one, own["objects"]) for one in wanted]
            assert np.mean(same) >= 0.99
            assert len(wanted) > 150
    checkpoint.unlink()  # 150 MB


def is_among(wanted, objects) -> bool:
    """Whether a detection (name, score, box) is among those of predictions.json."""
    name, score, box = wanted
    return any(
        one["class"] == name
        and abs(one["score"] - score) < 2e-4
        and iou(box[None], np.array([one["box"]], np.float32)).item() > 0.99
        for one in objects
    )


def test_finetuning_and_export(narrow, shapes, tmp_path):
    """On the drawn shapes, without any key of the network on the command lines."""
    checkpoint, _ = convert(small_shapes(), tmp_path)
    folder, file = tmp_path / "run", tmp_path / "detector.onnx"
    data = (f"--coco_root={shapes}", "--eval_batch_size=2", "--num_workers=1")
    classes = "[background, ellipse, rectangle, triangle, cross]"
    call(
        "train", f"--finetune={checkpoint}", *data, f"--output_path={folder}",
        f"--classes={classes}", "--image_size=[64,64]", "--batch_size=2", "--max_steps=2",
        "--freeze_norms=all", "--freeze_backbone_stages=4", "--lr=0.0001", "--log_interval=1",
        "--eval_interval=0",
        "--compile_cache=False",  # whose graphs are those of a process of its own
    )  # fmt: skip
    log = (folder / "log.txt").read_text()
    assert "the class layer is reinitialised" in log
    assert f"{checkpoint}: needs padding 'symmetric'" in log
    assert all(0 < record["loss"] < 100 for record in records(folder, "step"))
    trained = f"--checkpoint_path={folder / 'ckpt' / 'last.ckpt'}"
    printed = call(
        "export", trained, *data, "--file_format=ONNX", f"--file_name={file}",
        "--score_threshold=0", "--pre_nms_top_k=100", "--candidates_per_level=20",
    )  # fmt: skip
    assert "compared with the network on 4 images: " in printed
    assert "equal, within" in printed
    assert file.is_file()
