"""eval.py as a user types it, on a checkpoint and on exported files."""

import json

import pytest

from src.config.command_line import parse_args
from tests.programs import evaluated, exported, run
from tests.references import bare_coco_stats

pytestmark = pytest.mark.slow


def test_eval(trained, tmp_path):
    process, report = evaluated(
        trained, tmp_path, "--score_threshold=0", "--callbacks=[tests/told.py:Told]"
    )
    assert "10 images, protocol coco (scores above 0, 100 detections an image)" in process.stdout
    assert len(list((tmp_path / "report" / "pictures").glob("*.jpg"))) == 2 + 4
    page = (tmp_path / "report" / "report.html").read_text()
    assert "The training run" in page  # whose log lies beside the checkpoint
    # the printed AP is what bare pycocotools finds in the file
    cfg = parse_args("", [f"--config_path={trained[0]}"])
    truth = f"{cfg.coco_root}/annotations/instances_val2017.json"
    stats = bare_coco_stats(truth, tmp_path / "detections.json")
    assert report["overall"]["AP"] == pytest.approx(stats[0], rel=1e-12)
    assert f"{stats[0]:.3f}" in process.stdout
    assert [line for line in process.stdout.splitlines() if line.startswith("told ")] == [
        f"told start of eval in {trained[1]} after 18",
        f"told eval AP {stats[0]:.6f} at 18: {tmp_path}/report/report.html",
        "told end: finished at 18",
    ]


def test_eval_by_the_legacy_protocol_with_augmentation(trained, tmp_path):
    flags = ["--suppression=soft", "--tta_flip=True", "--tta_scales=[1.0, 1.5]", "--report=False"]
    process, report = evaluated(trained, tmp_path, "--protocol=legacy", *flags)
    assert "protocol legacy (scores above 0.1, 100 detections a class in each" in process.stdout
    assert "4 views of each image" in process.stdout
    assert report["protocol"] == "legacy"
    assert report["settings"]["suppression"] == "soft"
    assert "suppression=soft, tta_flip=True, tta_scales=[1.0, 1.5]" in report["title"]
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    assert report["images"] == len(truth["images"]) < 10
    assert f": {report['images']} of 10 images, protocol legacy" in process.stdout
    assert not (tmp_path / "report" / "report.html").exists()
    results = json.loads((tmp_path / "detections.json").read_text())
    if results:  # pycocotools does not read an empty list
        stats = bare_coco_stats(tmp_path / "ground_truth.json", tmp_path / "detections.json")
        assert report["overall"]["AP"] == pytest.approx(stats[0], rel=1e-12)
    assert all(result["score"] > 0.1 for result in results)


def test_eval_of_an_exported_file(trained, tmp_path):
    """The same AP from a file without suppression, and one with it and its own threshold."""
    _, wanted = evaluated(trained, tmp_path / "ckpt", "--report=False", "--score_threshold=0.002")
    for name, flags in (
        ("a.onnx", ["--file_format=ONNX", "--nms=False", "--export_batch=0"]),
        ("b.onnx", ["--file_format=ONNX", "--score_threshold=0.002"]),
    ):
        exported(trained, tmp_path / name, *flags)
        process = run(
            "eval.py",
            f"--config_path={trained[0]}",
            f"--model={tmp_path / name}",
            "--score_threshold=0.002",
            f"--output_path={tmp_path / 'out'}",
            "--report=False",
        )
        assert process.returncode == 0, process.stderr
        assert f"{name} on " in process.stdout
        found = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
        assert found["overall"]["AP"] == pytest.approx(wanted["overall"]["AP"], abs=1e-3)
        assert found["overall"]["AR100"] == pytest.approx(wanted["overall"]["AR100"], abs=1e-3)
    assert wanted["overall"]["AR100"] > 0.01


def test_the_checkpoint_alone(trained, tmp_path):
    """Data, classes and network are those of the run."""
    _, folder, _ = trained
    best = f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}"
    process = run("eval.py", best, f"--output_path={tmp_path}", "--report=False")
    assert process.returncode == 0, process.stderr
    assert "shapes0/annotations/instances_val2017.json: 10 images, protocol coco" in process.stdout
    process = run("export.py", best, f"--file_name={tmp_path / 'a'}")
    assert process.returncode == 0, process.stderr
    assert "compared with the network on 4 images" in process.stdout


def test_checkpoint_of_another_network(trained):
    path, folder, _ = trained
    process = run(
        "eval.py",
        f"--config_path={path}",
        f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}",
        "--backbone=resnet34",
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    assert "backbone: resnet18 in the checkpoint, resnet34 in the config" in process.stderr


def test_checkpoint_of_a_run_with_other_keys(trained):
    path, folder, _ = trained
    process = run(
        "eval.py",
        f"--config_path={path}",
        f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}",
        "--anchor_size=3",
        "--resize=letterbox",
        "--classes=[background, ellipse, rectangle, cross, triangle]",
    )
    assert process.returncode == 2
    assert "anchor_size: 2.0 in the checkpoint, 3.0 in the config" in process.stderr
    assert "resize: stretch in the checkpoint, letterbox in the config" in process.stderr
    assert "classes: ['background'" in process.stderr


def test_corrupt_checkpoint(recipe, tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint" * 20)
    process = run("eval.py", f"--config_path={recipe[0]}", f"--checkpoint_path={tmp_path}/bad.ckpt")
    assert process.returncode == 2
    assert process.stderr.startswith(f"error: {tmp_path}/bad.ckpt: not a MindSpore checkpoint")
    assert len(process.stderr.splitlines()) == 1
