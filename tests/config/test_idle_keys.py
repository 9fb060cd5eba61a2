"""Flags that do nothing, because of others or of the program, are answered with a note."""

import pytest

from src.config.command_line import parse_args, python_config
from src.config.configuration import make_config
from src.config.keys import load_keys
from src.data.augmentation.presets import STRENGTHS

# errors where they would do nothing
REFUSED = {"anchor_pixels", "quantize", "winograd"}


def notes(capsys, *flags, **options):
    parse_args("", flags, **options)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        (["--calibrate_on=9"], "--calibrate_on has no effect without --quantize=int8"),
        (["--calibrate_on=9", "--quantize=fp16"], "--calibrate_on has no effect without --quant"),
        (["--judge_on=9"], "--judge_on has no effect without --quantize"),
        (["--max_ap_fall=0"], "--max_ap_fall has no effect without --quantize"),
        (["--tile_overlap=0.2"], "--tile_overlap has no effect without --tiles"),
        (["--soft_sigma=1"], "--soft_sigma has no effect without --suppression=soft"),
        (
            ["--gamma=1", "--class_loss=quality"],
            "--focal_gamma has no effect without --class_loss=focal or varifocal",
        ),
        (
            ["--loss_scale_window=9"],
            "--loss_scale_window has no effect without --dynamic_loss_scale=true or --precision=fl",
        ),
        (["--warmup_ratio=0", "--warmup_epochs=0"], "--warmup_ratio has no effect without --warm"),
        (["--finetune=a", "--pretrained=b"], "--pretrained has no effect with --finetune"),
        (["--val_split=a", "--val_share=0.1"], "--val_split has no effect with --val_share"),
        (["--pre_nms_top_k=9", "--protocol=legacy"], "--pre_nms_top_k has no effect without --pro"),
        (["--device_id=0"], "--device_id has no effect without --device_target=GPU or Ascend"),
        (["--yolo_root=a"], "--yolo_root has no effect without --dataset=yolo"),
    ],
)
def test_a_flag_without_effect(capsys, flags, note):
    found = notes(capsys, *flags)
    assert len([line for line in found if line.startswith(f"note: {note}")]) == 1
    assert len([line for line in found if line.startswith("note: ")]) == 1


@pytest.mark.parametrize(
    "flags",
    [
        ["--calibrate_on=9", "--quantize=int8", "--judge_on=9", "--max_ap_fall=0"],
        ["--tile_overlap=0.2", "--tiles=640"],
        ["--soft_sigma=1", "--suppression=soft"],
        ["--focal_gamma=1"],
        ["--lr_batch_size=8"],  # also says for how many images lr is right
        ["--finetune=a", "--pretrained="],
        ["--loss_scale_window=9", "--precision=float16", "--device_target=GPU"],
    ],
)
def test_a_flag_with_an_effect_gets_no_note(capsys, flags):
    assert notes(capsys, *flags) == []


def test_recipes_and_ranks_but_the_main_one_get_no_note(capsys, tmp_path):
    (tmp_path / "config.yaml").write_text(make_config([]).to_yaml())  # a run's has every key
    assert notes(capsys, f"--config={tmp_path / 'config.yaml'}") == []
    assert notes(capsys, "--tile_overlap=0.1", quiet=True) == []


def test_what_a_checkpoint_records_counts(capsys):
    recorded = {"beneath": lambda given: ({"suppression": "soft"}, "a.ckpt")}
    assert notes(capsys, "--soft_sigma=1", **recorded) == []
    assert notes(capsys, "--nms_iou=0.5", **recorded) == [
        "note: --nms_iou has no effect without --suppression=hard"
    ]


def test_conditions_on_keys_of_other_programs_do_not_count(capsys):
    recorded = {"beneath": lambda given: ({"protocol": "legacy"}, "a.ckpt")}
    assert notes(capsys, "--pre_nms_top_k=9", program="predict", **recorded) == []
    assert len(notes(capsys, "--pre_nms_top_k=9", program="eval", **recorded)) == 1


@pytest.mark.parametrize(
    ("program", "flag", "is_idle"),
    [
        ("train", "--checkpoint_path=a.ckpt", True),
        ("train", "--file_name=a", True),
        ("predict", "--output_path=a", True),
        ("eval", "--batch_size=4", True),
        ("eval", "--finetune=a.ckpt", True),
        ("eval", "--output_path=a", False),
        ("export", "--backbone=resnet18", False),  # of the detector, where its file has none
        ("export", "--epoch_size=4", False),
        ("export", "--num_workers=0", False),  # of --quantize
    ],
)
def test_flags_of_other_programs(capsys, program, flag, is_idle):
    name = flag.partition("=")[0]
    note = f"note: {name} has no effect in {program}.py"
    assert notes(capsys, flag, program=program) == [note] * is_idle
    assert notes(capsys, flag, program=program, prog="python3 -m src.data.validate") == []


def test_from_python(capsys):
    python_config(None, {"tile_overlap": 0.1}, where="evaluate()")
    note = "note: evaluate(): tile_overlap has no effect without tiles\n"
    assert capsys.readouterr().err == note


def test_conditions_are_of_keys_and_their_values():
    keys = load_keys()
    for key in keys.values():
        for condition in filter(None, key.needs.split(" or ")):
            name, _, values = condition.partition("=")
            for value in filter(None, values.split(", ")):
                assert keys[name].check(value, key.name) == value
            assert keys[name]
        assert set(filter(None, key.unless.split(", "))) <= set(keys)


def test_a_meaning_for_one_value_of_another_key_comes_with_a_condition():
    """Those that begin with "octave:" or "tiles:", for example."""
    keys = load_keys()
    choices = {name: key.spec.removeprefix("one of ").split(", ") for name, key in keys.items()}
    words = {word.lower() for key in keys if "one of" in keys[key].spec for word in choices[key]}
    words |= set(keys)
    for key in keys.values():
        before, colon, _ = key.meaning.partition(":")
        named = set(before.lower().split(", ")) - set(choices[key.name])
        if colon and named and named <= words and key.name not in REFUSED:
            assert key.needs or key.unless or key.name in STRENGTHS, key.name


def test_a_condition_that_is_not_understood_is_refused(tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text("lr: 1  # int; run; unless seed; if seed | Whatever it means.\n")
    with pytest.raises(ValueError, match="lr needs a comment"):
        load_keys(path)
