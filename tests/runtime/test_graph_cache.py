"""Compiled graphs shared by processes; tests start some, since MindSpore reads them only once."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.runtime import graph_cache
from src.runtime.graph_cache import GraphCache, fingerprint
from tests.conftest import REPOSITORY
from tests.forked import Forks

CELLS = """
import json, os, sys
import mindspore as ms, numpy as np
from mindspore import nn
from pathlib import Path
from src.runtime.device import set_up_device
from src.runtime.graph_cache import GraphCache

class Times(nn.Cell):
    def construct(self, x):
        return x * 2

class Plus(nn.Cell):
    def construct(self, x):
        return x + 100

set_up_device("CPU")
cells = {"times": Times(), "plus": Plus()}
x = ms.Tensor(np.ones(3, np.float32))
order = sys.argv[2].split(",")
found = []
for facts in sys.argv[3:]:
    cache = GraphCache(Path(sys.argv[1]), [facts])
    found.append(cache.compile(lambda: [cells[name].compile(x) for name in order]))
print(json.dumps([found, {name: float(cell(x).asnumpy()[0]) for name, cell in cells.items()}]))
"""


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Processes in which MindSpore is imported and has compiled nothing."""
    forks = Forks(["mindspore"], REPOSITORY, tmp_path_factory.mktemp("forks"), GLOG_v="3")
    yield forks
    forks.close()


@pytest.fixture
def process(forks, tmp_path):
    """A function that compiles in a new process; returns whether graphs were found, and results."""
    script = tmp_path / "cells.py"
    script.write_text(CELLS)

    def run(order, *facts, **variables):
        done = forks.run(str(script), tmp_path / "graphs", order, *facts, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    run.folder = tmp_path / "graphs"
    return run


RIGHT = {"times": 2.0, "plus": 101.0}


def test_second_start_finds_the_graphs_and_gets_the_same_results(process):
    assert process("times,plus", "a") == [[False], RIGHT]
    assert process("times,plus", "a") == [[True], RIGHT]
    assert [path.name for path in process.folder.iterdir()] == [fingerprint(["a"])]


def test_only_the_first_folder_of_a_process_is_used(process):
    assert process("times", "a", "b") == [[False, False], RIGHT]
    assert [path.name for path in process.folder.iterdir()] == [fingerprint(["a"])]
    # with folders mixed up, "plus" would now get the graph of "times"
    assert process("plus", "b") == [[False], RIGHT]
    assert process("plus", "b") == [[True], RIGHT]


def test_damaged_graphs_are_compiled_again(process):
    process("times,plus", "a")
    damaged = list(process.folder.rglob("*.mindir"))
    assert len(damaged) == 2
    for path in damaged:
        path.write_bytes(path.read_bytes()[:40])
    assert process("times,plus", "a")[1] == RIGHT


def test_abandoned_and_long_unused_folders_are_deleted(tmp_path):
    for number in range(graph_cache.KEPT + 3):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))
    for name, age in ((".old.1.part", 2 * graph_cache.ABANDONED), (".new.2.part", 10)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    graph_cache.prune(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".new.2.part", *(str(n) for n in range(3, graph_cache.KEPT + 3))}


def test_kill_while_writing_leaves_no_half_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_cache, "used_folders", [])
    cache = GraphCache(tmp_path, ["a"])

    def dying():
        (beside,) = [graph_cache.os.environ[graph_cache.PLACE]]
        Path(beside).mkdir(parents=True)
        assert not cache.folder.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.compile(dying)
    assert not cache.folder.exists()
    assert graph_cache.os.environ[graph_cache.ENABLE] == "0"


def test_folder_changes_with_the_facts():
    assert fingerprint(["a", (1, 2)]) == fingerprint(["a", (1, 2)])
    assert len({fingerprint(["a"]), fingerprint(["b"]), fingerprint(["a", None])}) == 3


def test_no_cache_for_an_entry_script_that_is_no_file(tmp_path):
    """In a process of its own: in a fork MindSpore knows the script of the first process."""
    script = tmp_path / "cells.py"
    script.write_text("import sys; sys.argv[0] = '-c'" + CELLS)
    command = [sys.executable, script, tmp_path / "graphs", "times,plus", "one"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "GLOG_v": "3"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found, results = json.loads(done.stdout.splitlines()[-1])
    assert found == [False]
    assert results == {"times": 2.0, "plus": 101.0}
    assert not list(tmp_path.glob("graphs/*"))
