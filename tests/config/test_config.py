import copy
import pickle

import pytest
import yaml

from src.config.command_line import parse_args
from src.config.configuration import make_config, read_recipe
from src.config.keys import DEFAULT_PATH, keys_of_scope, load_keys
from src.runtime.errors import InputError
from src.weights.coco_classes import COCO_NAMES
from tests.conftest import DEMO_RECIPE, REPOSITORY


def test_every_key_is_described():
    keys = load_keys()
    assert set(keys) == set(yaml.safe_load(DEFAULT_PATH.read_text()))
    for key in keys.values():
        assert len(key.meaning) > 15, key.name
        assert key.meaning.endswith("."), key.name


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("int >= 0 | Whatever it means.", "lr has the scope ''; expected one of graph, run"),
        ("int >= 0; epoch | Whatever it means.", "lr has the scope 'epoch'"),
        ("int >= 0; run", "lr needs a comment 'type range; scope | meaning'"),
        ("number; run | Whatever it means.", "lr needs a comment"),
    ],
)
def test_a_key_without_type_scope_or_meaning_is_refused(tmp_path, comment, message):
    path = tmp_path / "keys.yaml"
    path.write_text(f"seed: 1  # int >= 0; run | Of weights.\nlr: 1  # {comment}\n")
    with pytest.raises(ValueError, match=message):
        load_keys(path)


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        (
            "graph",
            ("image_size", "backbone", "optimizer", "weight_decay", "ssd_max_scale", "classes"),
        ),
        ("run", ("lr", "lr_milestones", "epoch_size", "seed", "dataset", "augmentation")),
        ("session", ("output_path", "max_steps", "nms_iou", "loss_scale", "device_num", "resume")),
        ("batch", ("batch_size", "accumulate")),
    ],
)
def test_scopes_of_keys(scope, names):
    assert set(names) <= set(keys_of_scope(scope))
    assert scope != "batch" or len(keys_of_scope(scope)) == len(names)


def test_every_key_has_one_scope():
    of_all = keys_of_scope("graph", "run", "session", "batch")
    assert sorted(of_all) == sorted(load_keys())
    each = [keys_of_scope(scope) for scope in ("graph", "run", "session", "batch")]
    assert sum(map(len, each)) == len(of_all)


def test_defaults_are_the_base_recipe():
    cfg = make_config([])
    assert (cfg.image_size, cfg.epoch_size, cfg.lr) == ((640, 640), 60, 0.05)
    assert cfg.classes == ()  # those of the data


@pytest.mark.parametrize("name", ["config_gpu", "v2", "gfl", "gfl_1x"])
def test_recipes_for_coco_name_its_classes(name):
    recipe = read_recipe(str(REPOSITORY / "config" / f"ssd_resnet50_fpn_{name}.yaml"))
    cfg = make_config([(recipe, name)])
    assert cfg.classes == ("background", *COCO_NAMES)
    assert len(cfg.classes) == 81
    assert (cfg.classes[1], cfg.classes[80]) == ("person", "toothbrush")


@pytest.mark.parametrize(
    "written",
    [
        ["background", "cat", "dog"],
        ["cat", "dog"],
        ["Background", "cat", "dog"],
        ["__background__", "cat", "dog"],
    ],
)
def test_the_background_may_be_left_out(written):
    cfg = make_config([({"classes": written, "num_classes": 3}, "test")])
    assert cfg.classes == ("background", "cat", "dog")
    assert cfg.replace(lr=1.0).classes == cfg.classes


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("ssd_*.yaml")), ids=str)
def test_recipes_are_valid_and_state_only_what_differs(path):
    recipe = read_recipe(str(path))
    cfg, default = make_config([(recipe, str(path))]), make_config([])
    assert [name for name in recipe if cfg[name] == default[name]] == []


def test_flag_beats_recipe_beats_default(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("lr: 0.2\nseed: 7\n")
    cfg = parse_args("", [f"--config_path={recipe}", "--seed", "9"])
    assert (cfg.lr, cfg.seed, cfg.momentum) == (0.2, 9, 0.9)


def test_flags_are_parsed_to_the_type_of_their_key():
    cfg = parse_args(
        "",
        [
            "--image_size=[320,352]",
            "--lr=1e-3",
            "--clip_norm=5",
            "--classes=[background, cat, dog]",
            "--num_classes=3",
            "--file_name",
            "0123",
        ],
    )
    assert cfg.image_size == (320, 352)
    assert cfg.lr == 0.001
    assert isinstance(cfg.clip_norm, float)
    assert cfg.classes == ("background", "cat", "dog")
    assert cfg.file_name == "0123"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--lr=fast", "lr is 'fast'; expected float > 0"),
        ("--lr=0", "lr is 0; expected float > 0"),
        ("--lr=.nan", "expected float > 0"),
        ("--lr=inf", "expected float > 0"),
        ("--lr=1" + "0" * 400, "expected float > 0"),
        ("--seed=2024-13-01", "seed is '2024-13-01'"),
        ("--batch_size=2.5", "batch_size is 2.5; expected int 1..4096"),
        ("--batch_size=True", "expected int 1..4096"),
        ("--val_share=10", "expected float 0..0.5; 10 % is 0.1"),
        ("--batch_size=" + "9" * 5000, "9" * 190 + " ...; expected int 1..4096"),
        ("--positive_iou=1.5", "expected float 0.05..1"),
        ("--backbone=vgg16", "expected one of resnet18, resnet34, resnet50, resnet101"),
        ("--image_size=640x640", "is '640x640'; expected list of int >= 32, such as [640,640]"),
        ("--image_size=[640,640,64]", "expected [height, width]"),
        ("--image_size=600", "image_size is [600, 600]; expected [height, width], both multiples"),
        ("--image_size=[640,600]", "multiples of 32"),
        ("--voc_root=[a,b]", "voc_root is '[a,b]'; expected one path, no list"),
        ("--image_size=[640,", "expected list of int"),
        ("--batchsize=8", "unknown argument '--batchsize=8'; did you mean 'batch_size'?"),
        ("--epoch_sizes=8", "did you mean 'epoch_size'?"),
        ("--xyzzy", "--help --all lists all keys"),
        ("stray", "unknown argument 'stray'"),
        ("--lr", "expected one argument"),
        ("--classes=[cat, background]", "'background' is entry 3; expected it first, or left out"),
        ("--classes=[background]", "names the background alone"),
        ("--classes=[background, cat, cat]", "more than one entry is 'cat'"),
        ("--warmup_epochs=60", "less than epoch_size, 60; --warmup_epochs=18 is 30% of it"),
        ("--ssd_min_scale=0.95", "expected less than ssd_max_scale"),
        ("--aspect_ratios=[]", "expected at least one"),
        ("--jitter_scale=[2,0.5]", "expected the least and the largest factor"),
        ("--jitter_scale=[2]", "expected the least and the largest factor"),
        ("--ssd_aspect_ratios=[[2],[2],[2],[2],[2,3]]", "5 lists of equal length"),
        ("--box_coding=distribution", "box_coding is distribution and box_loss is smooth_l1"),
    ],
)
def test_bad_flags_say_what_was_found_and_expected(argument, message):
    with pytest.raises(InputError) as error:
        parse_args("", [argument])
    assert message in str(error.value)


def test_a_share_and_a_split_of_its_own_to_evaluate_on():
    for flags in (
        ["--val_json=a.json"],
        ["--val_images=a"],
        ["--dataset=other", "--val_anno_path=a.txt"],
    ):
        name = flags[-1].partition("=")[0]
        with pytest.raises(InputError, match=f"would not be used; give --val_share=0 .*{name}= to"):
            parse_args("", [*flags, "--val_share=0.1"])
        assert parse_args("", [*flags]).val_share == 0
    assert parse_args("", ["--val_anno_path=a.txt", "--val_share=0.1"]).dataset == "coco"


def test_num_classes_counts_the_background():
    with pytest.raises(InputError, match="num_classes is 2 but classes has 3 entries, the backgr"):
        parse_args("", ["--classes=[cat, dog]", "--num_classes=2"])
    assert parse_args("", ["--num_classes=2"]).classes == ()  # checked once they are known


def test_a_checkpoint_knows_its_classes_better_than_a_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("classes: [car]\nlr: 0.2\n")
    recorded = ({"classes": ["background", "cat"], "lr": 0.3}, "a.ckpt")
    flags = [f"--config_path={tmp_path}/r.yaml"]

    def classes(*more, **options):
        return parse_args("", [*flags, *more], beneath=lambda given: recorded, **options)

    assert classes().classes == ("background", "car")
    found = classes(over_recipe=["classes"])
    assert (found.classes, found.lr) == (("background", "cat"), 0.2)
    assert classes("--classes=[dog]", over_recipe=["classes"]).classes == ("background", "dog")


def test_what_distributions_need():
    keys = ["--box_coding=distribution", "--box_loss=giou", "--assigner=atss"]
    assert parse_args("", keys).box_loss == "giou"
    for other, message in (
        ("--anchors=ssd", "box_coding is distribution and anchors is ssd"),
        ("--box_loss=l1", "box_coding is distribution and box_loss is l1"),
        ("--assigner=max_iou", "box_coding is distribution and assigner is max_iou"),
    ):
        with pytest.raises(InputError, match=message):
            parse_args("", [*keys, other])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1\n", "unknown key 'learning_rate'"),
        ("epoch_sise: 1\n", "did you mean 'epoch_size'?"),
        ("lr: [1]\n", "lr is [1]; expected float > 0"),
        ("lr: 0.1\nseed: 1\nlr: 0.2\n", "line 3: 'lr' is given a second time"),
        ("lr: [0.1\n", "not YAML"),
        ("[1, 2]: 3\n", "not YAML"),
        ("seed: 2024-13-01\n", "not YAML"),
        ("just words\n", "expected lines of 'key: value'"),
    ],
)
def test_bad_recipes_name_the_file(tmp_path, text, message):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(text)
    with pytest.raises(InputError) as error:
        parse_args("", [f"--config_path={recipe}"])
    assert str(recipe) in str(error.value)
    assert message in str(error.value)


def test_missing_recipe_names_the_path():
    with pytest.raises(InputError, match="nowhere.yaml: no such file; check --config_path"):
        parse_args("", ["--config_path=nowhere.yaml"])
    near = "no such file; there is config/ssd_resnet50_fpn_voc.yaml; check --config_path"
    with pytest.raises(InputError, match=near):
        parse_args("", ["--config_path=config/ssd_resnet50_fpn_vocs.yaml"])


def test_read_only():
    cfg = make_config([])
    for change in (
        lambda: setattr(cfg, "lr", 1.0),
        lambda: cfg.__setitem__("lr", 1.0),
        lambda: cfg.update(lr=1.0),
        lambda: cfg.pop("lr"),
        lambda: cfg.__delitem__("lr"),
        lambda: delattr(cfg, "lr"),
        lambda: cfg.clear(),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert cfg.lr == 0.05
    assert cfg.replace(lr=1.0).lr == 1.0
    assert copy.deepcopy(cfg) == pickle.loads(pickle.dumps(cfg)) == cfg


def test_written_configuration_gives_itself_back(tmp_path):
    cfg = make_config([(read_recipe(str(DEMO_RECIPE)), "demo")])
    path = tmp_path / "config.yaml"
    path.write_text(cfg.to_yaml())
    assert parse_args("", [f"--config_path={path}"]) == cfg


def test_help_lists_every_key(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_args("", ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in load_keys())


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("coco_root", "a\0b", "coco_root is 'a\\x00b', which has a null byte"),
        ("coco_root", "\ud800", "coco_root is '\\ud800', which has"),
        ("batch_size", "\ud800", "batch_size is '\\ud800'; expected int"),
        ("classes", ["background", "a\x1b[1m"], "'a\\x1b[1m' has control characters"),
        ("classes", ["background", "c\u202eat"], "'c\\u202eat' has control characters"),
    ],
)
def test_texts_that_no_file_and_no_class_can_be_called(key, value, found):
    with pytest.raises(InputError) as error:
        make_config([({key: value}, "recipe")])
    assert found in str(error.value)


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "recipe.yaml").write_text("coco_root: ~/coco\nclasses: [~cat]\n")
    flags = ["--config_path=~/recipe.yaml", "--output_path=~/out", "--input=rtsp://a/~b"]
    cfg = parse_args("", [*flags, "--train_split=~x"])
    assert (cfg.coco_root, cfg.output_path) == (f"{tmp_path}/coco", f"{tmp_path}/out")
    assert (cfg.input, cfg.train_split, cfg.classes[1]) == ("rtsp://a/~b", "~x", "~cat")
    paths = {name for name, key in load_keys().items() if key.spec == "path"}
    words = ("_root", "_path", "_json", "_images", "_image", "_dir", "resume_from", "file_name")
    assert {name for name in load_keys() if name.endswith(words)} <= paths
