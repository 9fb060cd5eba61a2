"""eval.py as a user types it, on a checkpoint and on exported files."""

import json
import re

import pytest

from src.config.command_line import parse_args
from src.evaluation.split_loss import describe_losses
from src.runtime.errors import InputError
from tests.programs import call, checkpoint, numbers, run
from tests.references import bare_coco_stats
from tests.runs import records

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]


@pytest.fixture
def flags(trained, tmp_path):
    """The run's recipe and checkpoint, and a folder for what is found."""
    return [f"--config_path={trained[0]}", checkpoint(trained), f"--output_path={tmp_path}"]


def test_eval(trained, flags, tmp_path):
    process = run("eval.py", *flags, "--score_threshold=0", "--callbacks=[tests/told.py:Told]")
    assert process.returncode == 0, process.stderr
    assert "10 images, protocol coco (scores above 0, 100 detections an image)" in process.stdout
    assert len(list((tmp_path / "report" / "pictures").glob("*.jpg"))) == 2 + 4
    page = (tmp_path / "report" / "report.html").read_text()
    assert "The training run" in page  # whose log lies beside the checkpoint
    # the printed AP is what bare pycocotools finds in the file
    cfg = parse_args("", [f"--config_path={trained[0]}"])
    truth = f"{cfg.coco_root}/annotations/instances_val2017.json"
    stats = bare_coco_stats(truth, tmp_path / "detections.json")
    assert numbers(tmp_path)["overall"]["AP"] == pytest.approx(stats[0], rel=1e-12)
    assert f"{stats[0]:.3f}" in process.stdout
    # the loss is that of the run's evaluation
    losses = numbers(tmp_path)["losses"]
    evaluations = records(trained[1], "evaluation")
    assert losses == pytest.approx({name: evaluations[-1][name] for name in losses}, rel=1e-6)
    assert f"\n{describe_losses(losses)}\n" in process.stdout
    assert [line for line in process.stdout.splitlines() if line.startswith("told ")] == [
        f"told start of eval in {trained[1]} after 18",
        f"told eval AP {stats[0]:.6f} at 18: {tmp_path}/report/report.html",
        "told end: finished at 18",
    ]


def test_eval_by_the_legacy_protocol_with_augmentation(flags, tmp_path):
    flags += ["--suppression=soft", "--tta_flip=True", "--tta_scales=[1.0, 1.5]", "--report=False"]
    printed = call("eval", *flags, "--protocol=legacy")
    report = numbers(tmp_path)
    assert "protocol legacy (scores above 0.1, 100 detections a class in each" in printed
    assert "4 views of each image" in printed
    assert report["protocol"] == "legacy"
    assert report["settings"]["suppression"] == "soft"
    assert "suppression=soft, tta_flip=True, tta_scales=[1.0, 1.5]" in report["title"]
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    assert report["images"] == len(truth["images"]) < 10
    assert f": {report['images']} of 10 images, protocol legacy" in printed
    assert not (tmp_path / "report" / "report.html").exists()
    results = json.loads((tmp_path / "detections.json").read_text())
    if results:  # pycocotools does not read an empty list
        stats = bare_coco_stats(tmp_path / "ground_truth.json", tmp_path / "detections.json")
        assert report["overall"]["AP"] == pytest.approx(stats[0], rel=1e-12)
    assert all(result["score"] > 0.1 for result in results)


def test_eval_with_tiles(flags, tmp_path):
    """Images of 144 x 192 to 192 x 160 pixels have 6 or 9 tiles of 96."""
    printed = call("eval", *flags, "--score_threshold=0", "--tiles=96", "--report=False")
    assert re.search(r"^[6-8]\d tiles of 96 x 96 pixels too: \d\.\d times the work$", printed, re.M)
    assert "tiles=96" in numbers(tmp_path)["title"]


def test_eval_of_an_exported_file(trained, exported, flags, tmp_path):
    """The same AP from a file without suppression, and one with it and its own threshold."""
    recipe, best, output = flags
    low, short = "--score_threshold=0.002", "--report=False"
    call("eval", *flags, short, low)
    wanted = before = numbers(tmp_path)
    whole = tmp_path / "b.onnx"
    call("export", recipe, best, low, "--file_format=ONNX", f"--file_name={whole}")
    for path in (exported[0], whole):
        printed = call(
            "eval", recipe, f"--model={path}", low, output, short, f"--against={tmp_path}"
        )
        assert f"{path.name} on " in printed
        found = numbers(tmp_path)
        assert found["overall"]["AP"] == pytest.approx(wanted["overall"]["AP"], abs=1e-3)
        assert found["against"]["overall"] == before["overall"]
        assert "of 1,000 resamples of the images 95 % are between" in printed
        before = found
        assert found["overall"]["AR100"] == pytest.approx(wanted["overall"]["AR100"], abs=1e-3)
    assert wanted["overall"]["AR100"] > 0.01


def test_the_checkpoint_alone_names_data_and_classes(trained, tmp_path):
    printed = call("eval", checkpoint(trained), f"--output_path={tmp_path}", "--report=False")
    assert "shapes0/annotations/instances_val2017.json: 10 images, protocol coco" in printed


def test_checkpoint_of_another_network(flags):
    with pytest.raises(InputError, match="backbone: resnet18 in the checkpoint, resnet34 in the c"):
        call("eval", *flags, "--backbone=resnet34")


def test_checkpoint_of_a_run_with_other_keys(flags):
    flags += ["--anchor_size=3", "--resize=letterbox"]
    with pytest.raises(InputError) as error:
        call("eval", *flags, "--classes=[background, ellipse, rectangle, cross, triangle]")
    assert "anchor_size: 2.0 in the checkpoint, 3.0 in the config" in str(error.value)
    assert "resize: stretch in the checkpoint, letterbox in the config" in str(error.value)
    assert "classes: ['background'" in str(error.value)


def test_corrupt_checkpoint(recipe, tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint" * 20)
    process = run("eval.py", f"--config_path={recipe[0]}", f"--checkpoint_path={tmp_path}/bad.ckpt")
    assert process.returncode == 2
    assert process.stderr.startswith(f"error: {tmp_path}/bad.ckpt: not a MindSpore checkpoint")
    assert len(process.stderr.splitlines()) == 1
