"""Wrong command lines end with one line of error, before MindSpore is imported."""

import pytest

from src.config.configuration import make_config
from src.deploy.formats import describe, write_description
from tests.conftest import REPOSITORY
from tests.forked import Forks


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Processes in which importing MindSpore fails: what must be found before it is."""
    folder = tmp_path_factory.mktemp("no_mindspore")
    (folder / "mindspore.py").write_text("raise ImportError('imported too early')\n")
    modules = ["src.data.run_data", "src.data.loader", "src.deploy.export_request",
               "src.prediction.recorded", "src.prediction.targets"]  # fmt: skip
    forks = Forks(modules, REPOSITORY, folder, PYTHONPATH=str(folder))
    yield forks
    forks.close()


@pytest.mark.parametrize(
    ("script", "flags", "words"),
    [
        ("train.py", ["--config_path=nowhere.yaml"], ["nowhere.yaml", "--config_path"]),
        ("train.py", ["--config_path={bad}"], ["{bad}", "not YAML"]),
        ("train.py", ["--image_size=[640,600]"], ["image_size", "multiples of 32"]),
        ("train.py", ["--batchsize=2"], ["batchsize", "did you mean 'batch_size'"]),
        ("train.py", ["--coco_root=/nowhere"], ["/nowhere", "coco_root"]),
        ("train.py", ["--coco_root={shapes}", "--train_split=x"], ["instances_x.json", "split"]),
        (
            "train.py",
            ["--coco_root={shapes}", "--classes=[person]"],
            ["('ellipse', 21 annotations): not in classes", "instances_train2017.json"],
        ),
        ("train.py", ["{small}", "--output_path={bad}/x"], ["{bad}/x", "--output_path"]),
        (
            "train.py",
            ["{small}", "--pretrained=none.ckpt"],
            ["none.ckpt: no such file", "ckpt/README.md", "-m src.weights", "--pretrained= starts"],
        ),
        ("train.py", ["{small}", "--finetune=none.ckpt"], ["none.ckpt", "no such file"]),
        (
            "train.py",
            ["{small}", "--finetune={onnx}"],
            ["a.onnx: is an exported file; expected a c"],
        ),
        ("train.py", ["{small}", "--batch_size=99"], ["24 images", "--batch_size"]),
        ("train.py", ["{small}", "--accumulate=7"], ["24 images", "fewer than a batch of 28"]),
        ("train.py", ["{small}", "--precision=float16"], ["float16", "CPU", "--precision=float32"]),
        ("train.py", ["{small}", "--centerness=True"], ["cannot be trained", "--finetune"]),
        (
            "train.py",
            ["{small}", "--resize=short_side", "--short_side=64", "--long_side=64"],
            ["resize is short_side", "--resize=letterbox"],
        ),
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
        ("eval.py", ["{small}", "--tta_scales=[1, 1]"], ["tta_scales", "a scale is repeated"]),
        ("eval.py", ["{small}", "--model=a.onnx"], ["a.onnx: no such file"]),
        ("eval.py", ["{small}", "--model={bad}"], [".mindir", "checkpoint_path"]),
        ("eval.py", ["{small}", "--model=a.air"], ["a.air: no such file"]),
        ("eval.py", ["--checkpoint_path=a.onnx"], ["a.onnx", "--model"]),
        # before the data are looked for
        (
            "eval.py",
            ["--against=/no", "--checkpoint_path={ckpt}", "--coco_root=/x"],
            ["t: /no: no"],
        ),
        (
            "eval.py",
            ["--protocol=legacy", "--score_threshold=0.2", "--checkpoint_path={ckpt}"],
            ["score_threshold is 0.2, but protocol legacy has its own limits"],
        ),
        (
            "eval.py",
            ["--model={mindir}", "--nms_iou=0.5", "--coco_root=/x"],
            ["a.mindir: was exported with other keys", "\n  --nms_iou is 0.5; expected 0.6"],
        ),
        (
            "predict.py",
            ["--model={mindir}", "--max_detections=200", "--input={bad}"],
            ["--max_detections is 200; expected 100 or less"],
        ),
        ("predict.py", ["--model={mindir}", "--tta_scales=1,2", "--input={bad}"], ["--tta_scales"]),
        ("predict.py", ["--input={bad}", "--checkpoint_path=a.onnx"], ["a.onnx", "--model"]),
        (
            "export.py",
            ["--checkpoint_path={ckpt}", "--file_name=a.onnx", "--file_format=MINDIR"],
            ["--file_name is a.onnx", "leave --file_format out, or give ONNX"],
        ),
        ("predict.py", ["--checkpoint_path={bad}"], ["--input is needed"]),
        ("predict.py", ["--checkpoint_path={bad}", "--input=/no"], ["/no: no such", "--input"]),
        ("predict.py", ["--input={bad}"], ["--checkpoint_path is needed", "--model"]),
        ("predict.py", ["--input={bad}", "--checkpoint_path=no.ckpt"], ["no.ckpt: no such file"]),
        ("predict.py", ["--input={bad}", "--model={bad}"], [".mindir", ".onnx"]),
        ("predict.py", ["--input={bad}", "--model=no.onnx"], ["no.onnx: no such file"]),
        ("predict.py", ["--input={bad}", "--model=a.onnx", "--checkpoint_path={bad}"], ["both"]),
        ("export.py", ["{small}"], ["--checkpoint_path is needed"]),
        (
            "export.py",
            ["--file_name=x.tflite"],
            ["--file_name is x.tflite", ".mindir, .onnx, .air"],
        ),
        ("export.py", ["--file_name=x.ONNX", "--file_format=ONNX"], ["--file_name is x.ONNX"]),
        ("export.py", ["--checkpoint_path={ckpt}", "--file_format=AIR"], ["Ascend", "CPU", "ONNX"]),
        ("export.py", ["--checkpoint_path={ckpt}", "--suppression=soft"], ["--nms=False"]),
        ("export.py", ["--checkpoint_path={onnx}"], ["a.onnx: is an exported file"]),
        (
            "export.py",
            ["--checkpoint_path={ckpt}", "--file_name={folder}"],
            ["dir.mindir', a folder"],
        ),
        (
            "export.py",
            ["--checkpoint_path={ckpt}", "--export_image={shapes}"],
            ["no image in this"],
        ),
        ("export.py", ["{small}", "--checkpoint_path={ckpt}", "--export_image=no.jpg"], ["no.jpg"]),
        ("export.py", ["--checkpoint_path={ckpt}", "--file_name="], ["--file_name"]),
        (
            "export.py",
            ["--checkpoint_path={ckpt}", "--quantize=int8"],
            ["quantize is int8, which only ONNX", "is MINDIR", "give --file_format=ONNX"],
        ),
        ("export.py", ["--checkpoint_path={ckpt}", "--quantize=int4"], ["none, fp16, int8"]),
        (
            "export.py",
            ["--checkpoint_path={ckpt}", "--file_name=my dir/ü"],
            ["my dir/ü", "only to"],
        ),
        ("export.py", ["--checkpoint_path={ckpt}", "--file_name={bad}/x"], ["set --file_name"]),
        ("export.py", ["--checkpoint_path={ckpt}", "--coco_root=/no"], ["/no", "--export_image"]),
    ],
)
def test_bad_input_ends_at_once(recipe, shapes, forks, tmp_path, script, flags, words):
    bad = tmp_path / "bad.yaml"
    bad.write_text("lr: [\n")
    onnx, folder = tmp_path / "a.onnx", tmp_path / "dir.mindir"
    onnx.touch()
    folder.mkdir()
    values = {"small": f"--config_path={recipe[0]}", "bad": bad, "shapes": shapes}
    ckpt = tmp_path / "a.ckpt"
    ckpt.write_bytes(b"\x0a\x03\x0a\x01x")  # an entry named x
    mindir = tmp_path / "a.mindir"
    mindir.touch()
    write_description(describe(make_config([({"classes": ["cat"]}, "test")])), mindir)
    values.update(onnx=onnx, folder=folder, ckpt=ckpt, mindir=mindir)
    process = forks.run(script, *(flag.format(**values) for flag in flags))
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    lines = process.stderr.splitlines()
    first, *further = [line for line in lines if not line.startswith("note: ")]
    assert all(line.startswith("  ") for line in further), process.stderr
    assert first.startswith("error: ")
    for word in words:
        assert word.format(**values) in process.stderr
