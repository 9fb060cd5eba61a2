"""Files that hold objects of packages that are not installed, and hostile files."""

import argparse
import collections
import copyreg
import datetime
import functools
import io
import os
import pathlib
import pickle
import sys
import tracemalloc
import types
import zipfile

import numpy as np
import pytest

from src.runtime.errors import InputError
from src.weights.torch_file import read_torch_file
from src.weights.torch_pickle import MAX_OPERATIONS
from tests.weights.torch_writer import Call, Opcodes, legacy, pickled, tensor, zipped

DATA = np.arange(6, dtype=np.float32).tobytes()
FORMATS = {"zip": zipped, "legacy": legacy}
MARKER = "ran"  # written by hostile files if they run
COMMAND = f"touch {MARKER}"
WEIGHT = tensor(1, (2, 2), (3, 1))
MANY = 100_000
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


def imported() -> set[str]:
    """Modules, without the encodings that zipfile imports."""
    return {name for name in sys.modules if not name.startswith("encodings.")}


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
        check_weights(read_torch_file(path))
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
            found = read_torch_file(path)
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
        np.testing.assert_array_equal(read_torch_file(path)["w"], [[1, 2], [4, 5]])


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
            np.testing.assert_array_equal(read_torch_file(path)["w"], [[1, 2], [4, 5]])


@pytest.mark.parametrize("form", FORMATS)
def test_parts_of_a_file_without_one_of_the_usual_names(tmp_path, form):
    content = {"student": {"module.a": WEIGHT}, "teacher": {"module.a": WEIGHT}, "epoch": 3}
    path = FORMATS[form](tmp_path / "a.pth", pickled(content), [("0", DATA)])
    assert list(read_torch_file(path)) == ["student.module.a", "teacher.module.a"]


def nested(opcode: bytes, depth: int = MANY) -> Opcodes:
    """A tuple or list in itself, many levels deep."""
    return Opcodes(b")" + opcode * depth)


def doubled() -> Opcodes:
    """A tuple of two references to a tuple of two ... : 2^64 elements in all."""
    return Opcodes(b")" + b"2\x86" * 64)


# What each does, the pickle's value beside the weight, and whether the weight can be read.
INERT = {
    "os.system": Call("os.system", COMMAND),
    "getattr chain": Call(
        "builtins.getattr", Call("builtins.__import__", "builtins"), "eval", state={"a": 1}
    ),
    "called result": Opcodes(
        b"cbuiltins\ngetattr\ncbuiltins\n__import__\nX\x08\0\0\0builtins\x85RX\x04\0\0\0eval\x86R"
        + f"X{chr(29)}\0\0\0__import__('os').mkdir('{MARKER}')".encode()
        + b"\x85R"
    ),
    "extension": Opcodes(b"\x82\xf0" + pickled(COMMAND)[2:-1] + b"\x85R"),
    "unregistered extension": Opcodes(b"\x84\xff\xff\xff\x7f)R"),
    "INST": Opcodes(f"(V{COMMAND}\nios\nsystem\n".encode()),
    "OBJ": Opcodes(f"(cos\nsystem\nV{COMMAND}\no".encode()),
    "NEWOBJ": Opcodes(f"cos\nsystem\nV{COMMAND}\n\x85\x81".encode("latin-1")),
    "NEWOBJ_EX": Opcodes(f"cos\nsystem\nV{COMMAND}\n\x85}}\x92".encode("latin-1")),
    "deep tuple": nested(b"\x85"),
    "deep list": Opcodes(b"]" * MANY + b"a" * (MANY - 1)),
    "deep key": Opcodes(b"}" + nested(b"\x85") + b"K\x01s"),
    "doubled key": Opcodes(b"}" + doubled() + b"K\x01s"),
    "doubled set": Opcodes(b"\x8f(" + doubled() + b"\x90"),
    "doubled frozenset": Opcodes(b"(" + doubled() + b"\x91"),
    "list in itself": Opcodes(b"]q\xc8h\xc8a"),
    "far memo": Opcodes(b"Nr\xff\xff\xff\xff"),
    "number as persistent ID": Opcodes(b"K\x01Q"),
    "empty persistent ID": Opcodes(b")Q"),
    "deep persistent ID": Opcodes(nested(b"\x85") + b"Q"),
    "function in a persistent ID": Opcodes(
        b"(X\x07\0\0\0storagecos\nsystem\nX\x01\0\0\x009" + pickled(COMMAND)[2:-1] + b"K\x01tQ"
    ),
    "persistent ID of a line": Opcodes(b"Pos.system\n"),
    "state of a class": Opcodes(b"cos\nsystem\n}X\x08\0\0\0__code__K\x01sb"),
    "growing placeholder": Opcodes(b"cos\nsystem\n)R" + b"(K\x01K\x02e(K\x01K\x02u" * MANY),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", INERT)
def test_hostile_parts_beside_the_weights_do_nothing(tmp_path, monkeypatch, name, form):
    monkeypatch.chdir(tmp_path)
    copyreg.add_extension("os", "system", 240)
    try:
        content = pickled({"state_dict": {"w": WEIGHT}, "more": INERT[name]})
        path = FORMATS[form](tmp_path / "a.pth", content, [("0", DATA)])
        before = imported()
        np.testing.assert_array_equal(read_torch_file(path)["w"], [[1, 2], [4, 5]])
        assert imported() == before
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert os.listdir() == ["a.pth"]


def test_the_hostile_parts_would_do_something(tmp_path, monkeypatch):
    """With the standard library's reader."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "called result", "extension", "INST", "OBJ"):
        copyreg.add_extension("os", "system", 240)
        try:
            pickle.loads(pickled(INERT[name]))
        finally:
            copyreg.remove_extension("os", "system", 240)
        assert os.listdir() == [MARKER], name
        (os.rmdir if os.path.isdir(MARKER) else os.remove)(MARKER)


HOSTILE = {
    "os.system as the file": Call("os.system", COMMAND),
    "deep tuple as the file": nested(b"\x85"),
    "deep state dict": {"state_dict": nested(b"\x85")},
    "list in itself": Opcodes(b"]q\xc8h\xc8a"),
    "list in itself as the state dict": {"state_dict": Opcodes(b"]q\xc8h\xc8a")},
    "dict in itself as the state dict": Opcodes(b"}\x94X\x0a\0\0\0state_dicth\0s"),
    "system as a tensor": {"w": Call("torch._utils._rebuild_parameter", WEIGHT, state={})},
    "state of a tensor": {
        "w": Call("torch._utils._rebuild_tensor_v2", 0, 0, (), (), state={"a": 1})
    },
    "called number": {"w": WEIGHT, "x": Opcodes(b"K\x01)R")},
    "called dict": {"w": Call("torch._utils._rebuild_parameter", WEIGHT), "x": Opcodes(b"h\0)R")},
    "out of band": {"w": WEIGHT, "x": Opcodes(b"\x97")},
    "huge shape": {"w": tensor(0, (2**40, 2**40), (0, 0))},
    "huge elements": {"w": tensor(0, (2**MANY, 2**MANY), (1, 1))},
    "huge stride": {"w": tensor(0, (2, 2), (2**70, 1))},
    "huge offset": {"w": tensor(2**61, (1,), (1,))},
    "many dimensions": {"w": tensor(0, (1,) * MANY, (1,) * MANY)},
    "many arguments": {"w": Call("torch._utils._rebuild_tensor_v2", *range(MANY))},
    "claims 2^61 numbers": {"w": tensor(0, (1,), (1,), count=2**61)},
    "claims 2^62 numbers, all used": {"w": tensor(0, (2**62,), (1,), count=2**62)},
    "claims a negative number": {"w": tensor(0, (0,), (1,), count=-1)},
    "claims 2^20000 numbers": {"w": tensor(0, (1,), (1,), count=2**20000)},
    "two sizes of a storage": {"w": WEIGHT, "x": tensor(0, (1,), (1,), count=7)},
    "shared by too many": {f"w{i}": tensor(0, (6,), (1,)) for i in range(17)},
    "long string": {"w": WEIGHT, "x": Opcodes(b"\x8d" + b"\xff" * 7 + b"\x7fabc")},
    "unknown opcode": {"w": WEIGHT, "x": Opcodes(b"\xff")},
    "no value": {"w": WEIGHT, "x": Opcodes(b"000000")},
    "lines in a name": {"w": WEIGHT, "b\nc": Call("a.B", WEIGHT)},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_one_line(tmp_path, monkeypatch, name, form):
    monkeypatch.chdir(tmp_path)
    path = FORMATS[form](tmp_path / "a.pth", pickled(HOSTILE[name]), [("0", DATA)])
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            read_torch_file(path)
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert os.listdir() == ["a.pth"]


@pytest.mark.parametrize("form", FORMATS)
def test_long_pickles_are_refused(tmp_path, form):
    many = Opcodes(b"(" + b"N" * MAX_OPERATIONS + b"1N")
    path = FORMATS[form](tmp_path / "a.pth", pickled({"w": WEIGHT, "x": many}), [("0", DATA)])
    with pytest.raises(InputError, match="a.pth: holds more than 2,000,000 objects"):
        read_torch_file(path)
    # a short pickle that copies a list of pairs many times
    many = Opcodes(
        b"]("
        + b"NN\x86" * MANY
        + b"eq\xc80"
        + b"ccollections\nOrderedDict\nh\xc8\x85R0" * 20
        + b"N"
    )
    path = FORMATS[form](tmp_path / "a.pth", pickled({"x": many, "w": WEIGHT}), [("0", DATA)])
    with pytest.raises(InputError, match="a.pth: holds more than 2,000,000 objects"):
        read_torch_file(path)


def test_storages_within_each_other_are_refused(tmp_path):
    """Each entry of the zip file holds the next; together, they are larger than the file."""
    layers, data = 8, bytes(4000)
    content = {
        str(key): Call(
            "torch._utils._rebuild_tensor_v2",
            ("storage", "ByteStorage", str(key), "cpu", 4000 + 38 * key), 0, (1,), (1,),
        )
        for key in range(layers)
    }  # fmt: skip
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled(content))
        entries = []
        for key in range(layers):
            entry = zipfile.ZipInfo(f"a/data/{key}")
            entry.file_size = entry.compress_size = len(data)
            entry.CRC = zipfile.crc32(data)
            entries.append(entry)
            data = entry.FileHeader() + data
            assert len(data) == 4000 + 38 * (key + 1)
        for entry in reversed(entries):
            entry.header_offset = archive.fp.tell() + 38 * (layers - 1 - int(entry.filename[7:]))
            archive.filelist.append(entry)
        archive.fp.write(data)
        archive.start_dir = archive.fp.tell()
        archive._didModify = True
    with pytest.raises(InputError, match="a.pth: not a file that PyTorch saved") as error:
        read_torch_file(path)
    assert str(error.value.__cause__) == "storages larger than the file"


@pytest.mark.parametrize("count", [2**62, 2**40, -1, 5])
def test_counts_of_the_old_format(tmp_path, count):
    path = legacy(tmp_path / "a.pth", pickled({"w": WEIGHT}), [("0", DATA, count)])
    with pytest.raises(InputError, match="or a damaged one"):
        read_torch_file(path)


@pytest.mark.parametrize("key", [nested(b"\x85"), doubled(), "1", 3, Call("os.system", COMMAND)])
def test_keys_of_the_old_format(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    path = legacy(tmp_path / "a.pth", pickled({"w": WEIGHT}), [("0", DATA)], keys=pickled([key]))
    with pytest.raises(InputError, match="or a damaged one"):
        read_torch_file(path)
    assert os.listdir() == ["a.pth"]
