"""The notebook's code fits what it imports; its own run is kept in its outputs."""

import ast
import importlib
import json

from src.config.configuration import make_config
from tests.conftest import REPOSITORY

NOTEBOOK = REPOSITORY / "examples" / "notebook" / "train_and_detect.ipynb"
MAX_BYTES = 100_000


def cells() -> list[dict]:
    return [
        cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"
    ]


def tree() -> ast.Module:
    return ast.parse("\n".join("".join(cell["source"]) for cell in cells()))


def keywords(function: str) -> dict:
    """The literal keyword arguments of the one call of a function; None for others."""
    (call,) = (
        node
        for node in ast.walk(tree())
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    )
    return {k.arg: getattr(k.value, "value", None) for k in call.keywords}


def test_imported_names_exist():
    imports = [node for node in ast.walk(tree()) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.startswith("src.")]
    assert len(ours) >= 5
    for node in ours:
        module = importlib.import_module(node.module)
        for alias in node.names:
            assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def test_keys_of_its_calls_are_known():
    training, loading = keywords("train"), keywords("run.detector")
    assert training["epoch_size"] > 1 and loading["score_threshold"] > 0
    known = {key: value for key, value in {**training, **loading}.items() if value is not None}
    assert make_config([(known, "the notebook")]).epoch_size == training["epoch_size"]


def test_it_was_executed_from_start_to_end_and_is_small():
    counts = [cell["execution_count"] for cell in cells()]
    assert counts == list(range(1, len(counts) + 1))
    kinds = [output["output_type"] for cell in cells() for output in cell["outputs"]]
    assert "error" not in kinds
    assert NOTEBOOK.stat().st_size < MAX_BYTES
