"""Flags as people type them: alone, without brackets, by the names of other programs."""

import re

import pytest

from src.config.command_line import parse_args
from src.config.configuration import make_config
from src.config.keys import PROGRAMS, load_keys, unknown_hint
from src.config.names_elsewhere import NAMES_ELSEWHERE
from src.runtime.errors import InputError


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        (["--resume", "--profile=false"], {"resume": True}),
        (["--nms", "--lr", "0.1"], {"nms": True, "lr": 0.1}),
        (["--resume", "False", "--no-nms"], {"resume": False, "nms": False}),
        (["--no_report", "--no-tf32"], {"report": False, "tf32": False}),
        (["--dynamic_loss_scale"], {"dynamic_loss_scale": "true"}),
        (["--image_size=640"], {"image_size": (640, 640)}),
        (["--image_size=[320]"], {"image_size": (320, 320)}),
        (["--image_size", "320,640"], {"image_size": (320, 640)}),
        (["--tta_scales=0.5, 1e0"], {"tta_scales": (0.5, 1.0)}),
        (["--classes=ellipse"], {"classes": ("background", "ellipse")}),
        (["--classes=yes, no"], {"classes": ("background", "yes", "no")}),
        (['--classes=["a, b", c]'], {"classes": ("background", "a, b", "c")}),
        (["--classes="], {"classes": ()}),
        (["--coco_root=", "--train_json=a.json"], {"coco_root": ""}),  # which is not read
        (["--accept=shares,turned"], {"accept": ("shares", "turned")}),
    ],
)
def test_short_forms(flags, values):
    cfg = parse_args("", flags)
    assert {key: cfg[key] for key in values} == values


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume", "run"], "resume is 'run'; expected bool"),
        (["--classes=a,,b"], "classes is 'a,,b'; expected list of str, such as [first,second]"),
        (["--tta_scales=1,x"], "tta_scales is '1,x'; expected list of float 0.1..4, such as [1.0]"),
        (["--classes=[cat,", "dog]"], "'dog]'; a list is written without spaces, as in --classes="),
        (["--no-lr"], "unknown argument '--no-lr'; --lr takes a value, such as --lr=0.05"),
        (["--no-tiles"], "'--no-tiles'; --tiles takes a value, such as --tiles=0"),
        (["--no_pretrained"], "--pretrained takes a value, such as --pretrained="),
        (["--no-augmentation"], "such as --augmentation=none"),
        (["--no-image_size"], "such as --image_size=[640,640]"),
        (
            ["--tiles"],
            "--tiles: expected one argument, such as --tiles=640\n  int 0..65536: Longer",
        ),
        (["--nms_iou"], "--nms_iou: expected one argument, such as --nms_iou=0.6\n  float 0..1: h"),
        (["--source=a.jpg"], "unknown argument '--source=a.jpg'; did you mean 'input'?"),
        (["--conf-thres", "1"], "did you mean 'score_threshold'?"),
        (["config/my recipe.yaml"], "did you mean --config=config/my recipe.yaml?"),
        (["a.ckpt"], "unknown argument 'a.ckpt'; did you mean --checkpoint_path=a.ckpt?"),
        (["--lr=0,01"], "lr is '0,01'; expected float > 0; did you mean 0.01?"),
        (["--coco_root="], "coco_root is empty; expected a folder, such as . for this one"),
        (["--dataset=voc", "--voc_root", ""], "voc_root is empty"),
        (["--device=0"], "did you mean 'device_target' or 'device_id'?"),
    ],
)
def test_errors(flags, message):
    with pytest.raises(InputError) as error:
        parse_args("", flags)
    assert message in str(error.value)


def test_examples_of_values_are_values():
    keys = load_keys()
    examples = {name: re.findall(r"e\.g\. ([\w./]+)", key.meaning) for name, key in keys.items()}
    for name, values in examples.items():
        for value in values:
            keys[name].check(keys[name].parse(value), name)
    assert examples["tiles"] == ["640"]


def test_one_number_in_a_recipe():
    cfg = make_config([({"image_size": 96, "tta_scales": 2, "lr_milestones": 3.5}, "recipe")])
    assert cfg.image_size == (96, 96)
    assert (cfg.tta_scales, cfg.lr_milestones) == ((2.0,), (3.5,))
    for value in ("cat", "cat, dog", True):  # one class, or two?
        with pytest.raises(InputError, match="expected list of str, such as"):
            make_config([({"classes": value}, "recipe")])


def test_config_is_config_path(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("lr: 0.2\n")
    for flags in ([f"--config={recipe}"], ["--config", str(recipe)], [f"--config_path={recipe}"]):
        assert parse_args("", flags).lr == 0.2


def test_names_elsewhere_are_no_keys_and_name_keys():
    assert not set(NAMES_ELSEWHERE) & set(load_keys())
    here = {key for keys in NAMES_ELSEWHERE.values() for key in keys.split(", ")}
    assert here <= {*load_keys(), "config_path"}
    words = "source conf weights imgsz data iou epochs batch device workers project name"
    assert all("did you mean" in unknown_hint(word) for word in words.split())


def listed(capsys, *flags, **options):
    """The keys that --help lists, and all of its text."""
    with pytest.raises(SystemExit):
        parse_args("", ["--help", *flags], **options)
    text = capsys.readouterr().out
    return {name for name in load_keys() if f"\n  --{name} " in text}, text


def test_help_lists_the_keys_of_the_program(capsys):
    names, text = listed(capsys, program="predict")
    assert {"input", "output", "checkpoint_path", "score_threshold", "image_size"} <= names
    assert not {"lr", "coco_root", "file_format", "backbone", "resume"} & names
    assert "\ndetections:\n" in text
    assert "loss" not in text.split("--image_size")[0]
    assert listed(capsys, "--all", program="predict")[0] == set(load_keys())
    assert len(names) < 40
    with pytest.raises(InputError, match="unknown argument '--all'"):
        parse_args("", ["--all"])


def test_programs_are_those_of_the_key_or_of_its_section(tmp_path):
    path = tmp_path / "keys.yaml"
    text = "a: 1  # int; run | A.\n# --- one (train, eval)\nb: 1  # int; run | B.\n"
    path.write_text(
        f"{text}c: 1  # int; run; was d; for export | C.\n# --- two\nd: 1  # int; run | D.\n"
    )
    keys = load_keys(path)
    assert [key.section for key in keys.values()] == ["", "one", "one", "two"]
    assert keys["b"].programs == ("train", "eval")
    assert keys["c"].programs == ("export",)
    assert keys["a"].programs == keys["d"].programs == PROGRAMS
    path = tmp_path / "wrong.yaml"
    path.write_text("# --- one (trian)\nb: 1  # int; run | B.\n")
    with pytest.raises(ValueError, match="b is for 'trian'; expected some of train, eval"):
        load_keys(path)
