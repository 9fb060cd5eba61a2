"""Damaged annotations and random command lines end in an InputError or in none at all.

The seed of a failure is in its message; `FUZZ_SEEDS=17` tries that one alone, `FUZZ_SEEDS=0..5000`
more than usual.
"""

import json
import os
import random
import shutil
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from traceback import format_exc

import pytest

import eval as eval_script
import export as export_script
import predict as predict_script
import train as train_script
from src.config.configuration import make_config
from src.config.keys import Key, load_keys
from src.data import validate
from src.data.dataset import build_annotations, find_source
from src.data.readers.formats import READERS
from src.runtime.errors import InputError
from src.runtime.signals import Interruption
from src.runtime.text import printable
from tests import damages
from tests.spoiled import WRITERS

DAMAGES, COMMAND_LINES = 500, 200
LAST, SHOWN = 900, 8  # characters of a traceback; failures
SLOWEST = 5.0  # CPU-seconds that a damaged file may take: an expanded entity takes for ever
PATHS = ("coco_root", "output_path", "checkpoint_path", "model", "input", "output", "file_name")
ANNOTATIONS = (".json", ".txt", ".xml", ".yaml", ".csv")


def seeds(number: int) -> range:
    first, _, last = os.environ.get("FUZZ_SEEDS", f"0..{number - 1}").partition("..")
    return range(int(first), int(last or first) + 1)


@pytest.fixture(params=sorted(WRITERS))
def sound(request, tmp_path):
    """A sound data set's folder, the keys that read it, and its annotation files' contents."""
    root = tmp_path / "data"
    root.mkdir()
    keys = WRITERS[request.param](root)
    keys |= {"classes": ["background", "cat", "dog"], "output_path": str(tmp_path / "out" / "run")}
    files = sorted(path for path in root.rglob("*") if path.suffix in ANNOTATIONS)
    return keys, {path: path.read_bytes() for path in files}


def test_every_format_is_damaged():
    assert sorted(WRITERS) == sorted(READERS)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # NumPy's, which a user would see
def test_damaged_annotations_end_in_one_line(sound, tmp_path):
    (keys, files), failures = sound, []
    for seed in seeds(DAMAGES):
        rng = random.Random(f"{keys['dataset']} {seed}")
        damaged = rng.choices(list(files), k=rng.choice((1, 1, 2)))
        for path in damaged:
            damages.damage(rng, path)
        drop = rng.choice(("drop", "error"))
        started = time.process_time()
        try:
            use(make_config([({**keys, "unlisted_classes": drop}, "fuzz")]))
        except InputError as error:
            assert printable(str(error), lines=True).encode()
        except Exception:
            kept = tempfile.mkdtemp()
            shutil.copytree(tmp_path / "data", kept, dirs_exist_ok=True)
            failures.append(f"seed {seed}; its data: {kept}\n{format_exc()[-LAST:]}")
        assert time.process_time() - started < SLOWEST, f"seed {seed} of {keys['dataset']}"
        for path in damaged:
            path.write_bytes(files[path])
    assert not failures, f"{len(failures)} failures, first:\n" + "\n".join(failures[:SHOWN])


def use(cfg) -> None:
    """What a run and a check of the data set do with its annotations and images."""
    source = find_source(cfg, training=True)
    _, problems = source.read()
    assert all(str(problem).encode() for problem in (*problems.errors, *problems.repairs))
    annotations = build_annotations(cfg, training=True)
    assert annotations.summary()
    for record in annotations:
        assert min(record.width, record.height) > 0
        with suppress(InputError):
            record.read()


class Reached(Exception):
    """The command line got to where MindSpore is first used."""


def stop(*args, **kwargs):
    raise Reached


@pytest.fixture
def programs(monkeypatch):
    """The programs' main functions, which end in `Reached` before anything is computed."""
    monkeypatch.setattr("src.distributed.join.build_device", stop)
    monkeypatch.setattr(validate, "validate_split", stop)
    interruption = {"interruption": Interruption()}
    return {
        "train": partial(train_script.main, **interruption),
        "eval": eval_script.main,
        "export": partial(export_script.main, **interruption),
        "predict": partial(predict_script.main, **interruption),
        "validate": validate.main,
    }


def random_value(rng: random.Random, key: Key, paths: list[str]) -> object:
    """A value for a key: often of its type, often not."""
    match rng.randrange(5):
        case 0:
            return rng.choice(paths)
        case 1:
            return rng.choice(damages.VALUES)
        case 2 if key.spec.startswith("one of"):
            return rng.choice(key.spec.removeprefix("one of ").split(", "))
        case 3 if isinstance(key.default, (int, float)):
            return key.default * rng.choice((-1, 0, 0.5, 2, 1e6))
        case _:
            return [key.default] if rng.random() < 0.2 else key.default


def command_line(rng: random.Random, base: dict, folder: Path) -> list[str]:
    """Sound keys with some changed, as flags and in a recipe, which may be damaged."""
    files = [str(path) for path in folder.rglob("*")]
    odd = ["", "nowhere", "a\0b", "n" * 300, "caf\udce9", "\ud800", "a\nb", "/dev/null", "out/x"]
    chosen = rng.choices(list(load_keys().values()), k=rng.choice((0, 1, 2, 4)))
    changes = {key.name: random_value(rng, key, [*files, *odd]) for key in chosen}
    recipe = folder / "recipe.yaml"
    in_recipe = {**base, **(changes if rng.random() < 0.5 else {})}
    recipe.write_text(json.dumps(in_recipe))
    if rng.random() < 0.3:
        damages.damage(rng, recipe)
    flags = [f"--{name}={value}" for name, value in changes.items() if name not in in_recipe]
    flags += (
        [rng.choice(("--", "-x", "--=", "--lr", "lr=1", "@a", "--lr 1", "--nope=1", "--help"))]
        if rng.random() < 0.1
        else []
    )
    if rng.random() < 0.3:
        flags += [f"--{name}={rng.choice([*files, *odd])}" for name in PATHS if rng.random() < 0.6]
    if rng.random() < 0.2:
        flags += ["--report", rng.choice(odd)]
    return [f"--config_path={recipe}", *flags]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_random_command_lines_end_in_one_line(programs, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    data.mkdir()
    base = WRITERS["coco"](data) | {"classes": ["background", "cat", "dog"], "eval_interval": 0}
    base |= {"batch_size": 2, "output_path": str(tmp_path / "out"), "pretrained": ""}
    for name in ("a.ckpt", "a.onnx", "a.mindir", "a.mindir.yaml"):
        (tmp_path / name).write_bytes(b"none of these")
    monkeypatch.chdir(tmp_path)
    failures = []
    for seed in seeds(COMMAND_LINES):
        rng = random.Random(seed)
        name = rng.choice(list(programs))
        line = command_line(rng, base, tmp_path)
        try:
            programs[name](line)
        except (Reached, InputError):
            continue
        except SystemExit as end:
            assert end.code in (0, 2, None)
        except Exception:
            failures.append(f"seed {seed}: {name} {line}\n{format_exc()[-LAST:]}")
    assert not failures, f"{len(failures)} failures, first:\n" + "\n".join(failures[:SHOWN])
