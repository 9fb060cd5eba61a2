"""train.py and the check of a data set, as a user types them."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from src.config.command_line import parse_args
from src.models.resnet import resnet
from src.weights.checkpoint_config import recorded_config
from src.weights.checkpoint_file import Origin, write_backbone
from tests.conftest import REPOSITORY
from tests.programs import call, numbers, run
from tests.references import bare_coco_stats
from tests.runs import contents

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]


def test_train(trained):
    _, folder, printed = trained
    lines = printed.splitlines()
    assert lines[0].endswith("24 images (1 without objects), 68 boxes (1 of crowds)")
    assert any(line.startswith("commit ") and "MindSpore 2." in line for line in lines)
    assert "images/s" in printed
    (session,) = json.loads((folder / "run.json").read_text())
    assert session["command"][0] == "train.py"
    assert "left" in printed
    assert lines[-1].startswith("done, best AP ")
    assert lines[-1].endswith("best.ckpt")
    left = {"config.yaml", "run.json", "log.txt", "metrics.jsonl", "tensorboard", "ckpt"}
    assert {p.name for p in folder.iterdir()} >= left
    written = parse_args("", [f"--config_path={folder / 'config.yaml'}"])
    assert written.image_size == (64, 64)
    told = [line for line in lines if line.startswith("told ")]
    assert told[0] == f"told start of train in {folder} after 0"
    assert told[-2].startswith("told val AP 0.") and told[-2].endswith(" at 18: None")
    assert told[-1] == "told end: finished at 18"


def test_norms_learn_their_statistics(trained):
    """The update is compiled for training, beside the graph that evaluates the same network."""
    weights = contents(trained[1] / "ckpt" / "last.ckpt")
    means = [name for name in weights if "head.norms" in name and name.endswith("moving_mean")]
    assert len(means) >= 10  # two heads on five levels
    for name in means:
        assert np.abs(weights[name]).max() > 0, name


@pytest.fixture(scope="module")
def open_run(recipe, tmp_path_factory):
    """The folder of a short run, in which data and weights decide, and what it printed."""
    folder = tmp_path_factory.mktemp("open")
    weights = {n: p.asnumpy() for n, p in resnet("resnet18").parameters_dict().items()}
    origin = {"image_mean": (1.0, 2.0, 3.0), "image_std": (50.0, 60.0, 70.0), "source": "a.pth"}
    path = folder / "backbone.ckpt"
    write_backbone(path, weights, Origin(padding="symmetric", backbone="resnet18", **origin))
    flags = [f"--output_path={folder}/run", "--classes=[]", "--val_share=0.25", "--max_steps=1"]
    process = run("train.py", f"--config_path={recipe[0]}", f"--pretrained={path}", *flags)
    assert process.returncode == 0, process.stderr
    return folder / "run", process.stdout


def test_classes_of_the_data(open_run):
    """In the order of the file, which is not that of the alphabet."""
    folder, printed = open_run
    assert_classes(folder, printed, ["ellipse", "rectangle", "triangle", "cross"])


def assert_classes(folder, printed: str, names: list[str]) -> None:
    """Whether a run has said, written and recorded these classes."""
    assert f"4 classes: {', '.join(names)}" in printed
    written = parse_args("", [f"--config_path={folder}/config.yaml"])
    assert written.classes == ("background", *names)
    assert recorded_config(f"{folder}/ckpt/last.ckpt")["classes"] == ["background", *names]


def test_a_converted_backbone_decides_on_padding_and_pixels(recipe, open_run, tmp_path):
    folder, printed = open_run
    wanted = "needs padding 'symmetric', pixels with mean (1, 2, 3) and deviation (50, 60, 70)"
    assert wanted in printed
    written = parse_args("", [f"--config_path={folder}/config.yaml"])
    assert written.padding == "symmetric"
    assert written.image_std == (50, 60, 70)
    # also for an evaluation by the recipe, which leaves padding open
    last = [f"--config_path={recipe[0]}", f"--checkpoint_path={folder}/ckpt/last.ckpt"]
    assert "10 images, protocol coco" in call("eval", *last, f"--output_path={tmp_path}")


def test_a_share_that_is_held_out(open_run, tmp_path):
    """Of the 24 images to train on; the evaluation of the checkpoint is on the same."""
    folder, printed = open_run
    held = (folder / "val_images.txt").read_text().splitlines()
    line = f"{len(held)} of 24 images held out for evaluation, by class: ellipse "
    assert line in printed and 6 <= len(held) <= 12
    last = f"--checkpoint_path={folder}/ckpt/last.ckpt"
    call("eval", last, f"--output_path={tmp_path}", "--report=False")
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    assert sorted(image["file_name"] for image in truth["images"]) == held


@pytest.mark.parametrize(
    ("dataset", "how", "classes"),
    [
        ("other", ["--resize=letterbox", "--augmentation=jitter"], [f"class_{n}" for n in "1234"]),
        ("voc", ["--num_workers=0"], ["cross", "ellipse", "rectangle", "triangle"]),
    ],
)
def test_other_formats_train_and_evaluate(trained, formats, tmp_path, dataset, how, classes):
    """With the classes of their data: numbers in the text file."""
    folder = trained[1].with_name(dataset)  # beside the run whose compiled graphs VOC's uses
    flags = [f"--config_path={trained[0]}", *formats[dataset], *how, f"--output_path={folder}"]
    process = run("train.py", *flags, "--classes=[]", "--max_steps=4")
    assert process.returncode == 0, process.stderr
    assert ("compiled graphs loaded in" in process.stdout) or dataset == "other"
    assert_classes(folder, process.stdout, classes)
    lines = process.stdout.splitlines()
    # a text file knows no crowd regions
    boxes = "68 boxes (1 difficult)" if dataset == "voc" else "67 boxes"
    assert any(line.endswith(f"24 images (1 without objects), {boxes}") for line in lines)
    assert any("match no anchor at IoU 0.5" in line for line in lines)
    assert lines[-1].startswith("done, best AP ")
    flags = [f"--config_path={folder}/config.yaml", f"--checkpoint_path={folder}/ckpt/last.ckpt"]
    output = tmp_path / "eval"
    printed = call("eval", *flags, f"--output_path={output}", "--score_threshold=0")
    assert "10 images, protocol coco" in printed
    overall = numbers(output)["overall"]
    truth, found = (output / f"{name}.json" for name in ("ground_truth", "detections"))
    assert len(json.loads(truth.read_text())["images"]) == 10
    results = json.loads(found.read_text())
    assert {r["image_id"] for r in results} <= {
        i["id"] for i in json.loads(truth.read_text())["images"]
    }
    assert {r["category_id"] for r in results} <= {1, 2, 3, 4}
    if dataset == "other":  # VOC's difficult objects are not COCO's crowds
        assert overall["AP"] == pytest.approx(bare_coco_stats(truth, found)[0], rel=1e-12)
        assert "VOC50" not in overall
    else:
        assert 0 <= overall["VOC50"] <= 1
        assert "VOC50      VOC07" in printed


def test_validate(recipe, formats, tmp_path):
    flags = [f"--config_path={recipe[0]}", *formats["voc"], f"--output_path={tmp_path}/run"]
    process = run("-m", "src.data.validate", *flags)
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith("fit for training\n")
    assert (tmp_path / "run" / "data" / "report.html").is_file()


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_before_anything_is_trained_leaves_at_once(recipe, tmp_path, signum, status):
    command = [
        sys.executable,
        "train.py",
        f"--config_path={recipe[0]}",
        f"--output_path={tmp_path}",
    ]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background ignores Ctrl-C, and its children would
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()  # the run has begun, and has yet to compile
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors == f"\n{signum.name}: exiting at once\n"
    assert not (tmp_path / "ckpt" / "last.ckpt").exists()
