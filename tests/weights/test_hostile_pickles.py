"""Hostile PyTorch files: nothing that they name is run, and what cannot be read ends in a line."""

import copyreg
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from src.runtime.errors import InputError
from src.weights.torch_file import read_torch_file
from src.weights.torch_pickle import MAX_OPERATIONS
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

MARKER = "ran"  # written by hostile files if they run
COMMAND = f"touch {MARKER}"
MANY = 100_000


def nested(opcode: bytes, depth: int = MANY) -> Opcodes:
    """A tuple or list in itself, many levels deep."""
    return Opcodes(b")" + opcode * depth)


def doubled() -> Opcodes:
    """A tuple of two references to a tuple of two ... : 2^64 elements in all."""
    return Opcodes(b")" + b"2\x86" * 64)


# values with opcodes that torch.save does not write
FOREIGN = {
    "extension": Opcodes(b"\x82\xf0" + pickled(COMMAND)[2:-1] + b"\x85R"),
    "INST": Opcodes(f"(V{COMMAND}\nios\nsystem\n".encode()),
    "OBJ": Opcodes(f"(cos\nsystem\nV{COMMAND}\no".encode()),
    "persistent ID of a line": Opcodes(b"Pos.system\n"),
}
# values beside the weights, by what they would do
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
    "long int of Python 2": {Opcodes(b"I140234823423424\n"): [1]},
    "NEWOBJ": Opcodes(b"cos\nsystem\n" + pickled(COMMAND)[2:-1] + b"\x85\x81"),
    "NEWOBJ_EX": Opcodes(b"cos\nsystem\n" + pickled(COMMAND)[2:-1] + b"\x85}\x92"),
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
        np.testing.assert_array_equal(read_torch_file(path).arrays["w"], [[1, 2], [4, 5]])
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
            pickle.loads(pickled({**INERT, **FOREIGN}[name]))
        finally:
            copyreg.remove_extension("os", "system", 240)
        assert os.listdir() == [MARKER], name
        (os.rmdir if os.path.isdir(MARKER) else os.remove)(MARKER)


HOSTILE = {
    **{name: {"w": WEIGHT, "x": value} for name, value in FOREIGN.items()},
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
