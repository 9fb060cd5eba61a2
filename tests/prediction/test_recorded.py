"""The keys that a checkpoint records, as a layer of the configuration."""

import numpy as np
import pytest
import yaml

from src.config.command_line import parse_args
from src.config.configuration import make_config
from src.data.dataset import find_source
from src.data.problems import Problems
from src.data.readers.building import note_unlisted
from src.prediction import recorded
from src.prediction.recorded import (
    detector_layer,
    device_keys,
    device_line,
    evaluation_folder,
    evaluation_layer,
    export_layer,
    finetuning_layer,
    naming_the_detector,
    training_layer,
)
from src.runtime.errors import InputError
from src.weights.checkpoint_file import write_detector

ATSS = """
classes: [background, cat]
head_norm: group
centerness: true
resize: short_side
image_size: [160, 224]
short_side: 160
long_side: 224
assigner: atss
box_loss: giou
nms_iou: 0.4
eval_batch_size: 1
lr: 7.0
"""


@pytest.fixture
def write(tmp_path):
    """Writes a checkpoint with this configuration, and returns its path."""

    def write(name, config):
        path = tmp_path / name
        write_detector(path, {"a": np.ones(3, np.float32)}, config)
        return str(path)

    return write


def test_device_of_the_run_where_the_machine_has_one(write, monkeypatch):
    path = write("a.ckpt", "device_target: GPU")
    monkeypatch.setattr(recorded, "has_card", lambda target: target == "GPU")
    assert device_keys(path, {}) == {"device_target": "GPU"}
    assert device_keys(path, {"device_target": "CPU"}) == {}
    assert device_keys(write("b.ckpt", "device_target: Ascend"), {}) == {}
    assert device_keys(write("c.ckpt", "lr: 1"), {}) == device_keys("", {}) == {}


def test_a_file_is_exported_on_cpu_unless_only_a_card_can_make_it(write, monkeypatch):
    monkeypatch.setattr(recorded, "has_card", lambda target: target == "Ascend")
    given = {"checkpoint_path": write("a.ckpt", f"{DATA}device_target: Ascend\n")}
    for file_format, device in (("MINDIR", "CPU"), ("ONNX", "CPU"), ("AIR", "Ascend")):
        own = {**given, "file_format": file_format}
        cfg = make_config([export_layer(own), (own, "")])
        assert (cfg.device_target, cfg.voc_root) == (device, "data/mine")


def test_the_log_says_which_device_is_used(write):
    gpu, cpu = write("a.ckpt", "device_target: GPU"), write("b.ckpt", "device_target: CPU")

    def line(path, device):
        cfg = make_config([({"checkpoint_path": path, "device_target": device}, "")])
        return device_line(cfg)

    assert line(cpu, "CPU") == line("", "CPU") == line(write("d.ckpt", "lr: 1"), "GPU") == ""
    assert line(gpu, "GPU") == f"on GPU; the run of {gpu} used GPU"
    assert line(gpu, "CPU") == f"on CPU; the run of {gpu} used GPU"
    assert line(cpu, "GPU") == f"on GPU; the run of {cpu} used CPU"


def test_a_detector_needs_no_other_keys(write):
    path = write("a.ckpt", ATSS)
    cfg = parse_args("", ["--nms_iou=0.7"], beneath=lambda given: detector_layer(path))
    assert (cfg.classes, cfg.head_norm, cfg.centerness) == (("background", "cat"), "group", True)
    assert (cfg.resize, cfg.image_size, cfg.box_loss) == ("short_side", (160, 224), "giou")
    assert cfg.nms_iou == 0.7  # flags are stronger
    assert cfg.eval_batch_size == 1
    assert cfg.lr == 0.05  # of the run, not of the detector


def test_contradictions_of_flags_and_a_checkpoint_say_which_is_from_where(write):
    path = write("a.ckpt", ATSS)
    with pytest.raises(InputError) as error:
        parse_args("", ["--image_size=[64,64]"], beneath=lambda given: detector_layer(path))
    assert str(error.value) == (
        "resize is short_side, and an image of short_side 160 and long_side 224 does not fit "
        "image_size [64, 64]; set image_size to [160, 224], or short_side and long_side to less "
        f"(resize, short_side, long_side from {path}; image_size from command line)"
    )
    with pytest.raises(InputError, match=r"\[1.0\]$"):  # of one source
        make_config([({**yaml.safe_load(ATSS), "tta_scales": [0.5]}, path)])


def test_what_training_cannot_do_is_replaced(write):
    path = write("a.ckpt", ATSS)
    cfg = parse_args("", [f"--finetune={path}", "--batch_size=3"], beneath=training_layer)
    assert (cfg.resize, cfg.image_size, cfg.centerness) == ("letterbox", (640, 640), False)
    assert (cfg.assigner, cfg.head_norm, cfg.batch_size) == ("atss", "group", 3)
    assert cfg.eval_batch_size == 16


def test_the_batch_size_of_a_run_is_its_machine_s(write):
    path = write("a.ckpt", "resize: letterbox\neval_batch_size: 64\n")
    cfg = parse_args("", [], beneath=lambda given: detector_layer(path))
    assert (cfg.resize, cfg.eval_batch_size) == ("letterbox", 16)


def test_a_continued_run_knows_its_own_keys(write, tmp_path):
    """As when the file that it started from is gone."""
    write("ckpt/last.ckpt", ATSS)
    flags = [f"--finetune={tmp_path}/gone.ckpt", f"--output_path={tmp_path}"]
    assert parse_args("", flags, beneath=training_layer).head_norm == "batch"
    assert parse_args("", [*flags, "--resume=True"], beneath=training_layer).head_norm == "group"


def test_no_checkpoint_no_keys(tmp_path):
    for layer in (detector_layer, finetuning_layer):
        assert layer("") == ({}, "")
        assert layer(str(tmp_path / "none.ckpt"))[0] == {}
    assert training_layer({"resume": True}) == ({}, "")


DATA = """
classes: [background, cat]
dataset: voc
voc_root: data/mine
train_split: a
val_split: b
coco_root: ./data/coco
lr: 7.0
output_path: elsewhere
"""


def test_an_evaluation_needs_the_checkpoint_alone(write):
    path = write("a.ckpt", DATA)
    cfg = parse_args("", ["--val_split=c"], beneath=lambda given: evaluation_layer(path))
    assert (cfg.dataset, cfg.voc_root, cfg.train_split, cfg.val_split) == (
        "voc", "data/mine", "a", "c",
    )  # fmt: skip
    assert (cfg.classes, cfg.lr) == (("background", "cat"), 0.05)
    assert cfg.output_path == "./output"  # not over the files of the run


def test_a_share_comes_in_place_of_the_split_that_the_run_evaluated(write):
    own = "dataset: coco\ntrain_json: t.json\nval_json: v.json\nval_images: v\n"
    path = write("a.ckpt", own)
    given = {"val_share": 0.1}
    cfg = make_config([evaluation_layer(path, given), (given, "")])
    assert (cfg.train_json, cfg.val_json, cfg.val_images) == ("t.json", "", "")
    path = write("b.ckpt", "dataset: coco\ntrain_json: t.json\nval_share: 0.2\n")
    given = {"val_json": "w.json"}
    cfg = make_config([evaluation_layer(path, given), (given, "")])
    assert (cfg.val_json, cfg.val_share) == ("w.json", 0.0)


def test_an_evaluation_has_a_folder_below_the_run(write, tmp_path):
    (tmp_path / "ckpt").mkdir()
    path = write("ckpt/last.ckpt", DATA)
    assert evaluation_folder(path, {}) == {"output_path": str(tmp_path / "eval" / "last")}
    assert evaluation_folder(path, {"output_path": "mine"}) == {}
    assert evaluation_folder(write("last.ckpt", DATA), {}) == {}  # of no run's folder
    assert evaluation_folder("", {}) == {}


def test_data_that_are_gone_are_named_with_the_way_on(write):
    path = write("a.ckpt", DATA)
    given = {"checkpoint_path": path}
    cfg = make_config([evaluation_layer(path), (given, "")])
    with (
        pytest.raises(InputError, match="a.ckpt records it, for data elsewhere give --voc_root$"),
        naming_the_detector(cfg),
    ):
        find_source(cfg, training=False)
    cfg = cfg.replace(voc_root="data/others")  # given by the user
    with pytest.raises(InputError, match="data/others") as error, naming_the_detector(cfg):
        find_source(cfg, training=False)
    assert "records" not in str(error.value)


def test_of_data_that_are_there_only_what_is_missing_is_said(write, tmp_path):
    path = write("a.ckpt", f"dataset: coco\ncoco_root: {tmp_path}\n")
    cfg = make_config([evaluation_layer(path), ({"checkpoint_path": path}, "")])
    with pytest.raises(InputError) as error, naming_the_detector(cfg):
        find_source(cfg, training=False)
    assert str(tmp_path) in str(error.value) and "records" not in str(error.value)


def test_further_classes_in_the_data(write, tmp_path):
    cfg = make_config([({"checkpoint_path": "a.ckpt", "classes": ["background", "cat"]}, "")])
    problems = Problems(tmp_path / "a.json")
    note_unlisted("cow", "category 3", cfg.classes, problems, drop=False)
    with pytest.raises(InputError) as error, naming_the_detector(cfg):
        problems.raise_errors()
    assert str(error.value).endswith(
        "\n  the classes are those of a.ckpt, or of --classes; --unlisted_classes=drop evaluates "
        "these alone"
    )
    with pytest.raises(InputError, match="^other$"), naming_the_detector(cfg):
        raise InputError("other")


def test_fine_tuning_takes_the_classes_of_its_own_data(write):
    path = write("a.ckpt", ATSS)
    assert parse_args("", [f"--finetune={path}"], beneath=training_layer).classes == ()


@pytest.mark.parametrize("source", ["", "--finetune=gone.ckpt"])
def test_a_continued_run_keeps_its_classes(write, tmp_path, source):
    write("ckpt/last.ckpt", ATSS)
    flags = [f"--output_path={tmp_path}", *filter(None, [source])]
    assert parse_args("", flags, beneath=training_layer).classes == ()
    flags.append("--resume=True")
    assert parse_args("", flags, beneath=training_layer).classes == ("background", "cat")
    other = write("ckpt/epoch_02.ckpt", "classes: [background, dog]")
    flags.append(f"--resume_from={other}")
    assert parse_args("", flags, beneath=training_layer).classes == ("background", "dog")
