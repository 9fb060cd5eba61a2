"""The command lines as a user types them, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.config.command_line import parse_args
from src.data.coco_reader import coco_paths, read_coco
from src.models.resnet import resnet
from src.weights.checkpoint_file import Origin, write_backbone
from tests.conftest import REPOSITORY, small_keys, write_recipe
from tests.datasets import write_txt, write_video, write_voc
from tests.references import bare_coco_stats

SHAPES = ("ellipse", "rectangle", "triangle", "cross")


def run(script, *flags, env=None):
    """The finished process of `python script flags`, started in the repository."""
    command = [sys.executable, script, *map(str, flags)]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, **(env or {})}
    )


def wait_until(happened, process):
    """Waits for `happened()`, a minute at most, while the process runs."""
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def recipe(shapes, tmp_path_factory):
    """A small recipe as a file, and the folder that its run goes to."""
    folder = tmp_path_factory.mktemp("commands")
    keys = {**small_keys(shapes, folder), "epoch_size": 3}
    return write_recipe(folder / "small.yaml", keys), folder / "run"


@pytest.fixture(scope="module")
def trained(recipe):
    """The folder of a run of train.py."""
    path, folder = recipe
    process = run("train.py", f"--config_path={path}")
    assert process.returncode == 0, process.stderr
    return path, folder, process


def test_train(trained):
    _, folder, process = trained
    lines = process.stdout.splitlines()
    assert lines[0].endswith("24 images (1 without objects), 68 boxes (1 of crowds)")
    assert any(line.startswith("commit ") and "MindSpore 2." in line for line in lines)
    assert "images/s" in process.stdout
    (session,) = json.loads((folder / "run.json").read_text())
    assert session["command"][0] == "train.py"
    assert "left" in process.stdout
    assert lines[-1].startswith("done, best AP ")
    assert lines[-1].endswith("best.ckpt")
    left = {"config.yaml", "run.json", "log.txt", "metrics.jsonl", "tensorboard", "ckpt"}
    assert {p.name for p in folder.iterdir()} >= left
    written = parse_args("", [f"--config_path={folder / 'config.yaml'}"])
    assert written.image_size == (64, 64)


def test_training_from_a_converted_backbone(recipe, tmp_path):
    """It pads as the weights want it, and so do those who use what was trained."""
    path = tmp_path / "backbone.ckpt"
    weights = {n: p.asnumpy() for n, p in resnet("resnet18").parameters_dict().items()}
    told = {"image_mean": (1.0, 2.0, 3.0), "image_std": (50.0, 60.0, 70.0), "source": "a.pth"}
    write_backbone(path, weights, Origin(padding="symmetric", backbone="resnet18", **told))
    flags = [f"--output_path={tmp_path}/run", "--max_steps=1", "--eval_interval=0"]
    process = run("train.py", f"--config_path={recipe[0]}", f"--pretrained={path}", *flags)
    assert process.returncode == 0, process.stderr
    assert "wants symmetric padding, pixels less (1, 2, 3) over (50, 60, 70)" in process.stdout
    written = parse_args("", [f"--config_path={tmp_path}/run/config.yaml"])
    assert written.padding == "symmetric"
    assert written.image_std == (50, 60, 70)
    last = f"--checkpoint_path={tmp_path}/run/ckpt/last.ckpt"
    # by the recipe, which leaves padding open
    process = run("export.py", f"--config_path={recipe[0]}", last, f"--file_name={tmp_path}/a")
    assert process.returncode == 0, process.stderr


def evaluated(trained, output, *flags):
    """The finished process of eval.py on the run's best checkpoint, and the numbers it wrote."""
    path, folder, _ = trained
    checkpoint = folder / "ckpt" / "best.ckpt"
    process = run(
        "eval.py",
        f"--config_path={path}",
        f"--checkpoint_path={checkpoint}",
        f"--output_path={output}",
        *flags,
    )
    assert process.returncode == 0, process.stderr
    return process, json.loads((output / "report" / "metrics.json").read_text())


def test_eval(trained, tmp_path):
    process, report = evaluated(trained, tmp_path, "--score_threshold=0")
    assert "10 images, protocol coco (scores above 0, 100 detections an image)" in process.stdout
    assert len(list((tmp_path / "report" / "pictures").glob("*.jpg"))) == 2
    page = (tmp_path / "report" / "report.html").read_text()
    assert "The training run" in page  # whose log lies beside the checkpoint
    # the printed AP is what bare pycocotools finds in the file
    cfg = parse_args("", [f"--config_path={trained[0]}"])
    truth = f"{cfg.coco_root}/annotations/instances_val2017.json"
    stats = bare_coco_stats(truth, tmp_path / "detections.json")
    assert report["overall"]["AP"] == pytest.approx(stats[0], rel=1e-12)
    assert f"{stats[0]:.3f}" in process.stdout


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


def exported(trained, name, *flags):
    """A detector exported from the run's best checkpoint, and what was printed."""
    path, folder, _ = trained
    process = run(
        "export.py",
        f"--config_path={path}",
        f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}",
        f"--file_name={name}",
        *flags,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_export(trained, tmp_path):
    printed = exported(trained, tmp_path / "detector", "--nms=False", "--pre_nms_top_k=70")
    assert "compared with the network on 4 images: 280 candidates alike, at most" in printed
    assert "scores (1,70) float32" in printed
    graph = nn.GraphCell(ms.load(str(tmp_path / "detector.mindir")))
    boxes, scores, labels = graph(ms.Tensor(np.zeros((1, 64, 64, 3), np.uint8)))
    assert boxes.shape == (1, 70, 4)
    assert scores.shape == labels.shape == (1, 70)


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


@pytest.fixture(scope="module")
def pile(shapes, tmp_path_factory):
    """Four images, one below another folder, a video, and three files that cannot be read."""
    folder = tmp_path_factory.mktemp("pile")
    (folder / "below").mkdir()
    for number, path in enumerate(sorted((shapes / "val2017").iterdir())[:4]):
        (folder / ("below" if number == 3 else ".") / path.name).write_bytes(path.read_bytes())
    write_video(folder / "clip.avi", 5)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "none.png").write_text("no image")
    (folder / "none.mp4").write_text("no video")
    return folder


def test_predict(trained, pile, tmp_path):
    _, folder, _ = trained
    process = run(
        "predict.py",
        f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}",  # which knows its configuration
        f"--input={pile}",
        f"--output={tmp_path / 'new'}",
        "--score_threshold=0",
        "--drawn_score=0",
    )
    assert process.returncode == 1, process.stderr
    assert process.stderr.endswith("error: 3 of 8 files could not be read, or not wholly\n")
    assert "objects with a score of at least 0: " in process.stdout
    for name in ("empty.jpg", "none.png", "none.mp4"):
        assert f"passed over: {pile / name}: " in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout.startswith("9 images in ")
    assert " a second" in process.stdout
    entries = json.loads((tmp_path / "new" / "predictions.json").read_text())
    images = sorted(path for path in pile.rglob("*.jpg") if path.stat().st_size)
    assert [e["file"] for e in entries[:4]] == [str(path) for path in images]
    assert [e["frame"] for e in entries[4:]] == list(range(5))
    assert all(o["class"] in SHAPES for e in entries for o in e["objects"])
    assert sum(len(e["objects"]) for e in entries) > 9
    left = {str(p.relative_to(tmp_path / "new")) for p in (tmp_path / "new").rglob("*.*")}
    pictures = {str(path.relative_to(pile)) for path in images}
    assert left == {"predictions.json", "clip.avi.mp4", *pictures}


def test_predict_stops_when_asked_and_keeps_what_is_done(trained, pile, tmp_path):
    _, folder, _ = trained
    images = tmp_path / "many"
    images.mkdir()
    source = next(path for path in pile.glob("*.jpg") if path.stat().st_size)
    for number in range(2000):
        (images / f"{number:04}.jpg").symlink_to(source)
    flags = [f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}", f"--input={images}"]
    process = subprocess.Popen(
        [sys.executable, "predict.py", *flags, f"--output={tmp_path / 'out'}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any((tmp_path / "out").glob("*.jpg")), process)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "SIGTERM: saving what is done and leaving" in errors
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert 0 < len(entries) < 2000
    assert out.startswith(f"{len(entries):,} images in ")
    assert len(list((tmp_path / "out").glob("*.jpg"))) == len(entries)


def test_predict_on_nothing_that_can_be_read_leaves_nothing(trained, pile, tmp_path):
    _, folder, _ = trained
    flags = [f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}", f"--input={pile}/none.*"]
    process = run("predict.py", *flags, f"--output={tmp_path}")
    assert process.returncode == 1
    assert process.stderr.endswith("error: none of 2 files could be read\n")
    assert process.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_predict_with_an_exported_file(trained, pile, tmp_path):
    _, folder, _ = trained
    printed = exported(trained, tmp_path / "detector", "--file_format=ONNX", "--nms=False")
    assert "with its classes and thresholds in its metadata" in printed
    flags = [f"--input={pile}/*.jpg", "--score_threshold=0", "--tta_flip=True"]
    for name, flag in (
        ("onnx", f"--model={tmp_path / 'detector.onnx'}"),
        ("ckpt", f"--checkpoint_path={folder / 'ckpt' / 'best.ckpt'}"),
    ):
        process = run("predict.py", flag, *flags, f"--output={tmp_path / name}")
        assert process.returncode == 1  # one is empty
        assert "passed over" in process.stderr
    one, other = (
        json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("onnx", "ckpt")
    )
    assert [e["file"] for e in one] == [e["file"] for e in other]
    for mine, theirs in zip(one, other):
        scores = [[o["score"] for o in entry["objects"]] for entry in (mine, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=2e-4)


@pytest.fixture(scope="module")
def formats(shapes, tmp_path_factory):
    """The flags that read the shapes as a text file and as Pascal VOC's folders."""
    folder = tmp_path_factory.mktemp("formats")
    for split, voc_split in (("train2017", "trainval"), ("val2017", "test")):
        path, image_dir = coco_paths(str(shapes), split)
        annotations, _ = read_coco(path, image_dir, ("background", *SHAPES))
        write_txt(annotations, folder / f"{split}.txt")
        write_voc(annotations, folder / "VOC", voc_split, SHAPES)
        for image in image_dir.iterdir():
            (folder / "images").mkdir(exist_ok=True)
            (folder / "images" / image.name).write_bytes(image.read_bytes())
    return {
        "other": [
            "--dataset=other",
            f"--image_dir={folder / 'images'}",
            f"--anno_path={folder / 'train2017.txt'}",
            f"--val_anno_path={folder / 'val2017.txt'}",
        ],
        "voc": [
            "--dataset=voc",
            f"--voc_root={folder / 'VOC'}",
            "--train_split=trainval",
            "--val_split=test",
        ],
    }


@pytest.mark.parametrize(
    ("dataset", "how"),
    [("other", ["--resize=letterbox", "--augmentation=jitter"]), ("voc", ["--num_workers=0"])],
)
def test_other_formats_train_and_evaluate(recipe, formats, tmp_path, dataset, how):
    flags = [f"--config_path={recipe[0]}", *formats[dataset], *how, f"--output_path={tmp_path}/run"]
    process = run("train.py", *flags, "--max_steps=4")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    # a text file knows no crowd regions
    boxes = "68 boxes (1 difficult)" if dataset == "voc" else "67 boxes"
    assert lines[0].endswith(f"24 images (1 without objects), {boxes}")
    assert "overlap no anchor by IoU 0.5" in lines[1]
    assert lines[-1].startswith("done, best AP ")
    process = run(
        "eval.py",
        f"--config_path={tmp_path}/run/config.yaml",
        f"--checkpoint_path={tmp_path}/run/ckpt/last.ckpt",
        f"--output_path={tmp_path}/eval",
        "--score_threshold=0",
    )
    assert process.returncode == 0, process.stderr
    assert "10 images, protocol coco" in process.stdout
    overall = json.loads((tmp_path / "eval" / "report" / "metrics.json").read_text())["overall"]
    truth, found = (tmp_path / "eval" / f"{n}.json" for n in ("ground_truth", "detections"))
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
        assert "VOC50      VOC07" in process.stdout


def test_validate(recipe, formats, tmp_path):
    flags = [f"--config_path={recipe[0]}", *formats["voc"], f"--output_path={tmp_path}/run"]
    process = run("-m", "src.data.validate", *flags)
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith("fit for training\n")
    assert (tmp_path / "run" / "data" / "training.png").is_file()


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
    assert errors == f"\n{signum.name}: leaving at once\n"
    assert not (tmp_path / "ckpt" / "last.ckpt").exists()


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
    assert "missing" in process.stderr
    assert "backbone.layer1.2.conv1.weight" in process.stderr


@pytest.fixture(scope="module")
def no_mindspore(tmp_path_factory):
    """An environment in which importing MindSpore fails: what must be found before it is."""
    folder = tmp_path_factory.mktemp("no_mindspore")
    (folder / "mindspore.py").write_text("raise ImportError('imported too early')\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("script", "flags", "words"),
    [
        ("train.py", ["--config_path=nowhere.yaml"], ["nowhere.yaml", "--config_path"]),
        ("train.py", ["--config_path={bad}"], ["{bad}", "not YAML"]),
        ("train.py", ["--image_size=[640,600]"], ["image_size", "multiples of 32"]),
        ("train.py", ["--batchsize=2"], ["batchsize", "did you mean 'batch_size'"]),
        ("train.py", ["--coco_root=/nowhere"], ["/nowhere", "coco_root"]),
        ("train.py", ["--coco_root={shapes}", "--train_split=x"], ["instances_x.json", "split"]),
        ("train.py", ["--coco_root={shapes}"], ["class 'person'", "instances_train2017.json"]),
        ("train.py", ["{small}", "--output_path={bad}/x"], ["{bad}/x", "--output_path"]),
        ("train.py", ["{small}", "--pretrained=none.ckpt"], ["none.ckpt", "no such file"]),
        ("train.py", ["{small}", "--finetune=none.ckpt"], ["none.ckpt", "no such file"]),
        ("train.py", ["{small}", "--batch_size=99"], ["24 images", "--batch_size"]),
        ("train.py", ["{small}", "--accumulate=7"], ["24 images", "fewer than a batch of 28"]),
        ("train.py", ["{small}", "--precision=float16"], ["float16", "CPU", "--precision=float32"]),
        ("train.py", ["{small}", "--lr_schedule=steps"], ["lr_milestones", "below epoch_size, 3"]),
        ("train.py", ["{small}", "--resume_from=none.ckpt"], ["without --resume=True"]),
        ("train.py", ["{small}", "--resume=True", "--resume_from=none.ckpt"], ["no such file"]),
        ("train.py", ["{small}", "--resume=True", "--profile=True"], ["profile and resume"]),
        ("train.py", ["{small}", "--dataset=other"], ["--anno_path is needed"]),
        ("train.py", ["{small}", "--dataset=voc", "--voc_root=/no"], ["/no: no such", "voc_root"]),
        ("train.py", ["{small}", "--dataset=csv"], ["dataset is 'csv'", "coco, other, voc"]),
        ("eval.py", ["{small}"], ["--checkpoint_path is needed"]),
        ("eval.py", ["{small}", "--checkpoint_path=none.ckpt"], ["none.ckpt", "no such file"]),
        ("eval.py", ["{small}", "--protocol=voc"], ["protocol is 'voc'", "coco, legacy"]),
        ("eval.py", ["{small}", "--tta_scales=[]"], ["tta_scales is empty"]),
        ("eval.py", ["{small}", "--tta_scales=[1, 1]"], ["tta_scales", "one comes twice"]),
        ("eval.py", ["{small}", "--model=a.onnx"], ["a.onnx: no such file"]),
        ("eval.py", ["{small}", "--model={bad}"], [".mindir", "checkpoint_path"]),
        ("eval.py", ["{small}", "--model=a.air"], ["a.air: no such file"]),
        ("eval.py", ["--checkpoint_path=a.onnx"], ["a.onnx", "--model"]),
        ("predict.py", ["--input={bad}", "--checkpoint_path=a.onnx"], ["a.onnx", "--model"]),
        ("export.py", ["--checkpoint_path={bad}", "--file_name=a.onnx"], ["a.onnx", "MINDIR"]),
        ("predict.py", ["--checkpoint_path={bad}"], ["--input is needed"]),
        ("predict.py", ["--checkpoint_path={bad}", "--input=/no"], ["/no: no such", "--input"]),
        ("predict.py", ["--input={bad}"], ["--checkpoint_path is needed", "--model"]),
        ("predict.py", ["--input={bad}", "--checkpoint_path=no.ckpt"], ["no.ckpt: no such file"]),
        ("predict.py", ["--input={bad}", "--model={bad}"], [".mindir", ".onnx"]),
        ("predict.py", ["--input={bad}", "--model=no.onnx"], ["no.onnx: no such file"]),
        ("predict.py", ["--input={bad}", "--model=a.onnx", "--checkpoint_path={bad}"], ["both"]),
        ("export.py", ["{small}"], ["--checkpoint_path is needed"]),
        ("export.py", ["--checkpoint_path={bad}", "--file_format=AIR"], ["Ascend", "CPU", "ONNX"]),
        ("export.py", ["--checkpoint_path={bad}", "--suppression=soft"], ["--nms=False"]),
        ("export.py", ["--checkpoint_path={onnx}"], ["a.onnx: is an exported file"]),
        (
            "export.py",
            ["--checkpoint_path={bad}", "--file_name={folder}"],
            ["dir.mindir: is a fol"],
        ),
        ("export.py", ["--checkpoint_path={bad}", "--export_image={shapes}"], ["no image in this"]),
        ("export.py", ["{small}", "--checkpoint_path={bad}", "--export_image=no.jpg"], ["no.jpg"]),
        ("export.py", ["--checkpoint_path={bad}", "--file_name="], ["--file_name"]),
        ("export.py", ["--checkpoint_path={bad}", "--file_name={bad}/x"], ["set --file_name"]),
        ("export.py", ["--checkpoint_path={bad}", "--coco_root=/no"], ["/no", "--export_image"]),
    ],
)
def test_bad_input_ends_at_once(recipe, shapes, no_mindspore, tmp_path, script, flags, words):
    bad = tmp_path / "bad.yaml"
    bad.write_text("lr: [\n")
    onnx, folder = tmp_path / "a.onnx", tmp_path / "dir.mindir"
    onnx.touch()
    folder.mkdir()
    values = {"small": f"--config_path={recipe[0]}", "bad": bad, "shapes": shapes}
    values.update(onnx=onnx, folder=folder)
    process = run(script, *(flag.format(**values) for flag in flags), env=no_mindspore)
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert process.stderr.startswith("error: ")
    for word in words:
        assert word.format(**values) in process.stderr


def test_corrupt_checkpoint(recipe, tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint" * 20)
    process = run("eval.py", f"--config_path={recipe[0]}", f"--checkpoint_path={tmp_path}/bad.ckpt")
    assert process.returncode == 2
    assert process.stderr.startswith(f"error: {tmp_path}/bad.ckpt: not a MindSpore checkpoint")
    assert len(process.stderr.splitlines()) == 1


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
