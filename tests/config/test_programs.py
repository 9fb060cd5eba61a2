"""The programs of each key, which --help goes by, against what the sources read."""

import ast
import functools

import pytest

from src.config.keys import PROGRAMS, load_keys
from src.prediction.recorded import DETECTOR_KEYS
from tests.conftest import REPOSITORY

SCRIPTS = {name: REPOSITORY / f"{name}.py" for name in PROGRAMS}
SCRIPTS["validate"] = REPOSITORY / "src" / "data" / "validate.py"
OWN = {"train": "training", "eval": "evaluation", "export": "deploy", "validate": "data/page"}
# read by the configuration itself, or by a name that is put together
OTHERWISE = {"num_classes", "train_images", "val_images"}
SOURCE = REPOSITORY / "src"


@functools.cache
def parse(path):
    """The names that a file imports, the keys that it reads, and all of its strings."""
    imported, read, strings = set(), set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            imported |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
        elif isinstance(node, ast.Attribute):
            strings.add(node.attr)
            if isinstance(node.value, ast.Name) and node.value.id == "cfg":
                read.add(node.attr)
    return imported, read & set(load_keys()), strings


def within_reach(script):
    """The files of the program: its script, and all that they import of src."""
    found, ahead = set(), [script]
    while ahead:
        path = ahead.pop()
        if path in found:
            continue
        found.add(path)
        names = [name for name in parse(path)[0] if name and name.startswith("src.")]
        paths = [REPOSITORY / f"{name.replace('.', '/')}.py" for name in names]
        ahead += [path for path in paths if path.is_file()]
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_listed_keys_are_those_that_the_program_reads(program):
    listed = {name for name, key in load_keys().items() if program in key.programs}
    files = {path for path in within_reach(SCRIPTS[program]) if path.parent != SOURCE / "config"}
    assert listed <= OTHERWISE.union(*(parse(path)[2] for path in files))
    own = [SCRIPTS[program]]
    if program in OWN:
        own += [path for path in files if path.is_relative_to(SOURCE / OWN[program])]
    read = set().union(*(parse(path)[1] for path in own))
    recorded = DETECTOR_KEYS if program in ("eval", "export", "predict") else ()
    assert read - set(recorded) <= listed, "name the program behind the scope of these keys"
