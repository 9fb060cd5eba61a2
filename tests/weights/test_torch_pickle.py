"""PyTorch files that hold objects of packages that are not installed."""

import argparse
import collections
import datetime
import functools
import io
import pathlib
import pickle
import sys
import types

import numpy as np
import pytest

from src.runtime.errors import InputError
from src.weights.torch_file import read_torch_file
from tests.weights.torch_writer import (
    DATA,
    FORMATS,
    WEIGHT,
    Call,
    Opcodes,
    imported,
    legacy,
    pickled,
    tensor,
)

MODULES = {  # names that PyTorch, mmengine and omegaconf have; none is installed here
    "torch": ("FloatStorage", "Size", "device"),
    "torch._utils": ("_rebuild_tensor_v2",),
    "torch.optim.adamw": ("AdamW",),
    "mmengine.logging.message_hub": ("MessageHub",),
    "mmengine.logging.history_buffer": ("HistoryBuffer",),
    "mmengine.config.config": ("ConfigDict",),
    "omegaconf.dictconfig": ("DictConfig",),
}


class Weights:
    """A tensor whose pickle is that of PyTorch."""

    def __init__(self, key: str, shape: tuple):
        self.key, self.shape = key, shape

    def __reduce__(self):
        steps = tuple(int(np.prod(self.shape[i + 1 :])) for i in range(len(self.shape)))
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        arguments = (self.storage(), 0, self.shape, steps, False, collections.OrderedDict())
        return rebuild, arguments

    def storage(self):
        found = sys.modules["torch"].FloatStorage()
        found.key, found.count = self.key, int(np.prod(self.shape))
        return found


class StoragePickler(pickle.Pickler):
    def persistent_id(self, thing):
        if type(thing).__name__ != "FloatStorage":
            return None
        return ("storage", type(thing), thing.key, "cpu", thing.count)


@pytest.fixture
def packages(monkeypatch):
    """Makes classes of packages that are not there; `forget` removes them."""
    names = {name.rsplit(".", level)[0] for name in MODULES for level in range(4)} | {*MODULES}
    for name in names:
        members, module = MODULES.get(name, ()), types.ModuleType(name)
        for member in members:
            base = {"ConfigDict": dict, "HistoryBuffer": list}.get(member, object)
            setattr(module, member, type(member, (base,), {"__module__": name}))
        monkeypatch.setitem(sys.modules, name, module)
    function = lambda *arguments: None  # noqa: E731
    function.__module__, function.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    sys.modules["torch._utils"]._rebuild_tensor_v2 = function

    def forget():
        for name in names:
            monkeypatch.delitem(sys.modules, name)

    return types.SimpleNamespace(forget=forget, make=make)


def make(module: str, name: str, *arguments, **attributes):
    """An object of a class in MODULES."""
    thing = getattr(sys.modules[module], name)(*arguments)
    thing.__dict__.update(attributes)
    return thing


def weights() -> collections.OrderedDict:
    found = collections.OrderedDict(
        {"backbone.conv1.weight": Weights("0", (2, 3)), "bbox_head.bias": Weights("1", (3,))}
    )
    found._metadata = collections.OrderedDict(version=1)
    return found


def detector() -> dict:
    """As mmengine writes it."""
    history = make("mmengine.logging.history_buffer", "HistoryBuffer", [1.5, 2.5])
    history.arrays = collections.deque([np.arange(4.0), np.float64(3)], maxlen=5)
    history.methods = {"mean": np.mean, "of": [].append, ("a", 1): functools.partial(max, 1)}
    hub = make("mmengine.logging.message_hub", "MessageHub", scalars={"loss": history})
    config = make("mmengine.config.config", "ConfigDict", {"lr": np.float32(0.1)})
    return {
        "meta": {"time": datetime.datetime(2024, 1, 2), "cfg": config, "seen": {1, 2, (3, 4)}},
        "message_hub": hub,
        "optimizer": {"state": {0: {"exp_avg": Weights("2", (4,))}}, "param_groups": [{"lr": 1}]},
        "param_schedulers": [{"counts": collections.Counter(a=1), "kind": np.dtype("f4")}],
        "state_dict": weights(),
    }


def lightning() -> dict:
    """As Lightning writes it."""
    config = make("omegaconf.dictconfig", "DictConfig", _content={"lr": 0.1}, _parent=None)
    config._parent = config
    return {
        "epoch": 3,
        "callbacks": {
            "ModelCheckpoint": {"best": pathlib.PurePosixPath("a/b"), "k": Weights("2", (4,))}
        },
        "hyper_parameters": {
            "args": argparse.Namespace(lr=1, tags=frozenset("ab")),
            "optimizer": functools.partial(sys.modules["torch.optim.adamw"].AdamW, lr=1),
            "more": collections.defaultdict(list, a=[config]),
        },
        "loops": bytearray(b"abc"),
        "state_dict": weights(),
    }


def written(path, form: str, content: dict, protocol: int = 2):
    file = io.BytesIO()
    StoragePickler(file, protocol).dump(content)
    numbers = {"0": 6, "1": 3, "2": 4}
    rows = [(key, np.arange(n, dtype=np.float32).tobytes()) for key, n in numbers.items()]
    return FORMATS[form](path, file.getvalue(), rows)


def check_weights(found: dict[str, np.ndarray]) -> None:
    assert found.keys() == {"backbone.conv1.weight", "bbox_head.bias"}
    np.testing.assert_array_equal(found["backbone.conv1.weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["bbox_head.bias"], [0, 1, 2])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("content", [detector, lightning])
def test_objects_of_packages_that_are_not_installed(tmp_path, packages, content, form):
    things = content()
    paths = [written(tmp_path / f"{p}.pth", form, things, p) for p in (2, 3, 4, 5)]
    packages.forget()
    before = imported()
    for path in paths:
        check_weights(read_torch_file(path).arrays)
    assert imported() == before


@pytest.mark.parametrize("form", FORMATS)
def test_damage_among_unknown_objects(tmp_path, packages, form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = detector()
    whole = written(tmp_path / "whole.pth", form, content).read_bytes()
    packages.forget()
    path, refused, read = tmp_path / "a.pth", 0, 0
    rng = np.random.default_rng(0)
    damaged = [whole[:end] for end in rng.integers(0, len(whole), 100)]
    for place in rng.integers(0, len(whole), 300):
        damaged.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    for changed in damaged:
        path.write_bytes(changed)
        try:
            found = read_torch_file(path).arrays
        except InputError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in found.values())
            read += 1
    assert refused >= 100  # all that were cut short
    assert read or form == "zip"  # a zip file has checksums


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            Call("torch._utils._rebuild_tensor_v3", ("storage", "UntypedStorage", "1", "cpu", 6)),
            r"tensor b depends on torch\._utils\._rebuild_tensor_v3, which is unknown here",
        ),
        (tensor(0, Call("torch.Size", (2, 2)), (3, 1)), r"tensor b depends on torch\.Size, "),
        (tensor(Call("a.B"), (2,), (1,)), r"tensor b depends on a\.B, "),
        (tensor(0, (Call("numpy.int64"), 2), (3, 1)), r"tensor b depends on numpy\.int64, "),
        (
            tensor(0, (2,), (1,), kind="ComplexFloatStorage"),
            r"tensor b depends on torch\.ComplexFloatStorage, ",
        ),
        (
            Call("torch._utils._rebuild_parameter", Call("a.B", (1, WEIGHT)), True),
            r"tensor b depends on a\.B, ",
        ),
        (
            Call("torch._utils._rebuild_tensor_v2", Opcodes(b"K\x01Q"), 0, (2,), (1,)),
            "tensor b depends on an unknown persistent ID, ",
        ),
        (
            Call("numpy.core.multiarray._reconstruct", (0,), b"b", state=(1, (2,), False, b"")),
            "b is a NumPy array; save it as a tensor",
        ),
    ],
)
def test_tensors_that_depend_on_unknown_names(tmp_path, value, words, form):
    is_complex = "Complex" in words
    rows = [("0", 2 * DATA, 6) if is_complex else ("0", DATA)]
    good = {} if is_complex else {"w": WEIGHT}
    for content in ({**good, "b": value}, {"state_dict": {**good, "b": value}}):
        path = FORMATS[form](tmp_path / "a.pth", pickled(content), rows)
        with pytest.raises(InputError, match=f"a.pth: .*{words}"):
            read_torch_file(path)
    if good:  # no error where it is beside the weights
        content = {"state_dict": good, "best": {"b": value}, "b": value}
        path = FORMATS[form](tmp_path / "a.pth", pickled(content), rows)
        np.testing.assert_array_equal(read_torch_file(path).arrays["w"], [[1, 2], [4, 5]])


def test_unused_storages_of_other_types_in_the_old_format(tmp_path):
    for kind, words in (("ComplexFloatStorage", None), ("NewStorage", "type torch.NewStorage")):
        other = ("storage", kind, "1", "cpu", 2)
        more = Call("torch._utils._rebuild_tensor_v2", other, 0, (2,), (1,))
        content = pickled({"best": {"c": more}, "state_dict": {"w": WEIGHT}})
        rows = [("1", bytes(16), 2), ("0", DATA)]
        path = legacy(tmp_path / "a.pth", content, rows)
        if words:
            with pytest.raises(InputError, match=f"holds numbers of the unknown {words}; save"):
                read_torch_file(path)
        else:
            np.testing.assert_array_equal(read_torch_file(path).arrays["w"], [[1, 2], [4, 5]])


@pytest.mark.parametrize("form", FORMATS)
def test_parts_of_a_file_without_one_of_the_usual_names(tmp_path, form):
    content = {"student": {"module.a": WEIGHT}, "teacher": {"module.a": WEIGHT}, "epoch": 3}
    path = FORMATS[form](tmp_path / "a.pth", pickled(content), [("0", DATA)])
    assert list(read_torch_file(path).arrays) == ["student.module.a", "teacher.module.a"]
