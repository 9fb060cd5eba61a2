"""Former names of keys and of items in lists, wherever a key can be given."""

import pytest

from src.config.command_line import parse_args
from src.config.configuration import make_config
from src.config.keys import RETIRED, load_keys, with_new_names
from src.data.signs.sign import NAMES
from src.runtime.errors import InputError

OLD = {
    "alpha": "focal_alpha",
    "gamma": "focal_gamma",
    "beta": "smooth_l1_beta",
    "candidates": "pre_nms_top_k",
    "min_scale": "ssd_min_scale",
    "max_scale": "ssd_max_scale",
}


def test_no_old_name_is_a_key():
    keys = load_keys()
    assert {key.was: name for name, key in keys.items() if key.was} == OLD
    assert not set(OLD) & set(keys)


@pytest.mark.parametrize("old", OLD)
def test_flags(old, capsys):
    flags = [f"--{old}", "1"] if old == "candidates" else [f"--{old}=0.5"]
    cfg = parse_args("", [*flags, "--anchors=ssd"])
    assert cfg[OLD[old]] == (1 if old == "candidates" else 0.5)
    assert old not in cfg
    assert capsys.readouterr().err == f"--{old} is now --{OLD[old]}\n"


def test_recipes(tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("gamma: 1.5\nlr: 0.2\n")
    cfg = parse_args("", [f"--config_path={recipe}"])
    assert (cfg.focal_gamma, cfg.lr) == (1.5, 0.2)
    assert capsys.readouterr().err == f"{recipe}: gamma is now focal_gamma\n"


def test_ranks_but_the_main_one_print_nothing(tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("gamma: 1.5\n")
    cfg = parse_args("", [f"--config_path={recipe}", "--alpha=0.5"], quiet=True)
    assert (cfg.focal_gamma, cfg.focal_alpha) == (1.5, 0.5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("name", "flag"), [("gamma", "focal_gamma"), ("focal_gamma", "gamma")])
def test_a_flag_beats_the_recipe_under_either_name(tmp_path, name, flag):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"{name}: 1.5\n")
    assert parse_args("", [f"--config_path={recipe}", f"--{flag}=3"]).focal_gamma == 3.0


def test_what_flags_set_is_passed_on_by_its_new_name():
    given = {}
    parse_args("", ["--candidates=7"], beneath=lambda values: given.update(values) or ({}, ""))
    assert given == {"pre_nms_top_k": 7}


def test_both_names_must_agree(tmp_path):
    with pytest.raises(InputError, match="command line: alpha is 0.3 and focal_alpha is 0.4"):
        parse_args("", ["--alpha=0.3", "--focal_alpha=0.4"])
    assert parse_args("", ["--beta=1", "--smooth_l1_beta=1.0"]).smooth_l1_beta == 1.0
    recipe = tmp_path / "r.yaml"
    recipe.write_text("focal_alpha: 0.3\nalpha: 0.4\n")
    with pytest.raises(InputError, match="r.yaml: alpha is 0.4 and focal_alpha is 0.3"):
        parse_args("", [f"--config_path={recipe}"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--alpha=2", "focal_alpha is 2; expected float 0..1"),
        ("--alpha", "--alpha: expected one argument"),
    ],
)
def test_bad_values(argument, message):
    with pytest.raises(InputError, match=message):
        parse_args("", [argument])


def test_layers_and_changes(capsys):
    cfg = make_config([({"min_scale": 0.1}, "checkpoint")]).replace(max_scale=0.9)
    assert (cfg.ssd_min_scale, cfg.ssd_max_scale) == (0.1, 0.9)
    assert capsys.readouterr().err == ""
    assert with_new_names({"": 1, "lr": 0.1}, "x") == {"": 1, "lr": 0.1}


def test_help_shows_the_new_names_alone(capsys):
    with pytest.raises(SystemExit):
        parse_args("", ["--help"])
    flags = {word.split()[0] for word in capsys.readouterr().out.split("--")[1:]}
    assert set(OLD.values()) <= flags
    assert not set(OLD) & flags


def test_no_retired_sign_is_one():
    assert not set(RETIRED["accept"]) & set(NAMES)


def test_retired_items_are_dropped_with_a_note(tmp_path, capsys):
    recipe = tmp_path / "config.yaml"  # of an older run
    recipe.write_text("accept: [areas, leak, offset]\n")
    assert parse_args("", [f"--config={recipe}"]).accept == ("leak",)
    note = f"note: {recipe}: accept has names that are no longer used: areas, offset\n"
    assert capsys.readouterr().err == note
    assert parse_args("", ["--accept=areas"]).accept == ()
    note = "note: --accept has names that are no longer used: areas\n"
    assert capsys.readouterr().err == note
    assert parse_args("", [f"--config={recipe}"], quiet=True).accept == ("leak",)
    assert capsys.readouterr().err == ""


def test_retired_items_that_a_checkpoint_records_are_dropped(capsys):
    cfg = make_config([({"accept": ["few_images", "shares"]}, "a.ckpt")])
    assert cfg.accept == ("shares",)
    assert capsys.readouterr().err == ""
