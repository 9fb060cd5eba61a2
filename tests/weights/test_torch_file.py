"""Files of torch.save, made by golden/make.py, and files that it would not write."""

import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from src.runtime.errors import InputError
from src.weights.torch_file import read_torch_file
from tests.weights.torch_writer import Call, pickled, tensor, zipped

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "tensors.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    "name", ["tensors.pth", "tensors_old.pth", "wrapped.pth", "wrapped_old.pth"]
)
def test_every_kind_of_tensor(expected, name):
    found = read_torch_file(GOLDEN / name).arrays
    assert found.keys() == expected.keys() | {"brain"}
    for key, array in expected.items():
        is_float = array.dtype.kind == "f"
        assert found[key].dtype == (np.float32 if is_float else array.dtype)
        np.testing.assert_array_equal(found[key], array.astype(found[key].dtype), err_msg=key)
    assert found["brain"].dtype == np.float32  # bfloat16 keeps the first 8 bits of the mantissa
    np.testing.assert_allclose(found["brain"], expected["plain"], rtol=2**-8)
    assert not np.array_equal(found["brain"], expected["plain"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evil.pth", None),  # its weights do not need what it names
        ("evil_old.pth", "an object of __builtin__.exec, which was not run; .*state_dict"),
        ("evil.pkl", "not a file that PyTorch saved"),
        ("module.pth", "an object of torch.nn.modules.linear.Linear, .*not run; .*state_dict"),
    ],
)
def test_no_code_in_a_file_is_run(expected, name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if words is None:
        np.testing.assert_array_equal(
            read_torch_file(GOLDEN / name).arrays["weight"], expected["plain"]
        )
    else:
        with pytest.raises(InputError, match=words):
            read_torch_file(GOLDEN / name)
    assert os.listdir(tmp_path) == []


DATA = np.arange(6, dtype=np.float32).tobytes()


def test_the_writer_of_these_tests(tmp_path):
    path = zipped(tmp_path / "a.pth", pickled({"w": tensor(1, (2, 2), (3, 1))}), [("0", DATA)])
    np.testing.assert_array_equal(read_torch_file(path).arrays["w"], [[1, 2], [4, 5]])
    # as PyTorch wrote them at first
    storage = ("storage", "FloatStorage", "0", "cpu", 6)
    old = Call("torch._utils._rebuild_tensor", storage, 4, (2,), (1,))
    path = zipped(tmp_path / "a.pth", pickled({"w": old}), [("0", DATA)])
    np.testing.assert_array_equal(read_torch_file(path).arrays["w"], [4, 5])


@pytest.mark.parametrize(
    "wrong",
    [
        tensor(0, (7,), (1,)),
        tensor(3, (4,), (1,)),
        tensor(0, (2, 2), (5, 1)),
        tensor(0, (10**9, 10**9), (0, 0)),
        tensor(-1, (2,), (1,)),
        tensor(5, (2,), (-1,)),
        tensor(0, (2, 2), (1,)),
        tensor(0, (8,), (1,), count=8),
        tensor(0, (3,), (1,), kind="DoubleStorage"),
        tensor("a", (2,), (1,)),
        tensor(0, 2, (1,)),
    ],
)
def test_tensors_that_reach_beyond_their_storage(tmp_path, wrong):
    path = zipped(tmp_path / "a.pth", pickled({"w": wrong}), [("0", DATA)])
    with pytest.raises(InputError, match="not a file that PyTorch saved, or a damaged one"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "state",
    [{"__class__": 1}, ({}, {"__new__": 1}), ({"a": 1}, {"a": 2}), (None, {"__setstate__": 1})],
)
def test_a_file_cannot_change_its_reader(tmp_path, state):
    call = Call("torch._utils._rebuild_tensor_v2", 0, 0, (), (), state=state)
    on_class = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + pickled(state)[2:-1] + b"b."
    for content in (pickled({"w": call}), on_class):
        with pytest.raises(InputError):
            read_torch_file(zipped(tmp_path / "a.pth", content))
    assert read_torch_file(GOLDEN / "tensors.pth").arrays["plain"].shape == (4, 6)


def test_files_that_are_no_state_dict(tmp_path):
    for content in ({"epoch": 3}, {}, [1, 2], 5, {"state_dict": {"a": 1}}):
        with pytest.raises(InputError, match="holds no tensors by name"):
            read_torch_file(zipped(tmp_path / "a.pth", pickled(content)))
    compressed = zipped(
        tmp_path / "b.pth",
        pickled({"w": tensor(0, (6,), (1,))}),
        [("0", DATA)],
        compression=zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(InputError, match=r"b\.pth: not a file that PyTorch saved"):
        read_torch_file(compressed)
    with tarfile.open(tmp_path / "d.pth", "w") as archive:
        archive.add(__file__, "sys_info")
    with pytest.raises(InputError, match=r"d\.pth: is of PyTorch's first format"):
        read_torch_file(tmp_path / "d.pth")
    (tmp_path / "c.pth").write_bytes(b"")
    with pytest.raises(InputError, match=r"c\.pth: not a file"):
        read_torch_file(tmp_path / "c.pth")


@pytest.mark.parametrize("name", ["tensors.pth", "tensors_old.pth"])
def test_damage_is_an_error_or_other_numbers_but_no_traceback(tmp_path, expected, name):
    whole = (GOLDEN / name).read_bytes()
    path, refused = tmp_path / "a.pth", 0
    rng = np.random.default_rng(0)
    damaged = [whole[:end] for end in rng.integers(0, len(whole), 100)]
    for place in rng.integers(0, len(whole), 300):
        damaged.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        try:
            found = read_torch_file(path).arrays
        except InputError as error:
            refused += str(path) in str(error)
        else:
            assert all(isinstance(array, np.ndarray) for array in found.values())
    assert refused >= 100  # all that were cut short, at least
