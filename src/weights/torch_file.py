"""Reads tensors from PyTorch files without PyTorch and without running pickled code.

A .pth or .pt file is a pickle, which can call any function when it is read. Here, names that state
dicts need are mapped to harmless types, and files with other names are refused. Source:
torch/serialization.py, for the zip format (since 1.6) and the one before.
"""

import io
import math
import pickle
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from src.runtime.errors import InputError

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGE_DTYPES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "BFloat16Storage": ml_dtypes.bfloat16,
}  # fmt: skip
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")  # keys used by training scripts
SAVE_STATE_DICT = "save the weights alone with torch.save(model.state_dict(), path)"

Read = Callable[[str], bytes]  # bytes of the storage with this key


class Sealed(type):
    """Metaclass of classes that a pickle can call but not change."""

    def __setattr__(cls, name, value):
        raise pickle.UnpicklingError(f"changes {cls.__name__}.{name}")


class Tensor(tuple, metaclass=Sealed):
    """(storage, offset, size, stride) of a tensor that is not read yet."""

    __slots__ = ()

    def __new__(cls, storage, offset, size, stride, *_):
        return super().__new__(cls, (storage, offset, size, stride))


class Parameter(metaclass=Sealed):
    """Replaces the function that makes a parameter of a tensor; returns the tensor."""

    def __new__(cls, tensor, *_):
        return tensor


class Storage(NamedTuple):
    """Data of one or several tensors: key in the file, type and count."""

    key: str
    dtype: np.dtype
    count: int


class StorageType(NamedTuple):
    """Replaces a storage class; cannot be called."""

    dtype: np.dtype


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): Tensor,
    ("torch._utils", "_rebuild_parameter"): Parameter,
    **{("torch", name): StorageType(np.dtype(dtype)) for name, dtype in STORAGE_DTYPES.items()},
}


class TensorUnpickler(pickle.Unpickler):
    """Reads containers, numbers, strings and tensors; InputError on anything else.

    Attributes:
        storages: by key.
    """

    def __init__(self, file: BinaryIO, path: Path):
        super().__init__(file, encoding="utf-8")
        self.path = path
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise InputError(
                f"{self.path}: asks for {module}.{name}, which is not needed to read weights and "
                f"was not run; {SAVE_STATE_DICT}"
            )
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, StorageType) or any(view):
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}")
        storage = Storage(str(key), storage_type.dtype, int(count))
        self.storages[storage.key] = storage
        return storage


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The state dict in a .pth or .pt file: arrays by name, floating-point ones as float32.

    Raises:
        InputError: the file is not PyTorch's, is damaged, or holds anything but tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return read_zip(archive, path)
        if tarfile.is_tarfile(path):
            raise InputError(
                f"{path}: is of PyTorch's first format, a tar file, which is not supported; save "
                "it again with PyTorch, or use a newer file of the same weights"
            )
        with path.open("rb") as file:
            return read_legacy(file, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except InputError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path}: not a file that PyTorch saved, or a damaged one") from error


def read_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    """`read_torch_file` of PyTorch 1.6 and later."""
    (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    root = pickled[: -len("data.pkl")]

    def read(name: str) -> bytes:
        entry = archive.getinfo(root + name)
        if entry.compress_type != zipfile.ZIP_STORED:  # PyTorch never compresses; may be huge
            raise ValueError(f"{name} is compressed")
        return archive.read(entry)

    order = read("byteorder") if root + "byteorder" in archive.namelist() else b"little"
    content = TensorUnpickler(io.BytesIO(read("data.pkl")), path).load()
    return arrays_of(content, lambda key: read(f"data/{key}"), order.decode(), path)


def read_legacy(file: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    """`read_torch_file` of PyTorch before 1.6: several pickles, then the data."""

    def load() -> Any:
        return TensorUnpickler(file, path).load()

    if load() != LEGACY_MAGIC or load() != LEGACY_PROTOCOL:
        raise ValueError("another magic number")
    system = load()
    unpickler = TensorUnpickler(file, path)
    content, keys = unpickler.load(), load()
    storages: dict[str, bytes] = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = file.read(count * unpickler.storages[key].dtype.itemsize)
    order = "little" if system["little_endian"] else "big"
    return arrays_of(content, storages.__getitem__, order, path)


def arrays_of(content: Any, read: Read, order: str, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict, which may be part of a training script's checkpoint."""
    storages: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors_of(content, path).items():
        key = tensor[0].key
        if key not in storages:
            storages[key] = numbers(tensor[0], read(key), order)
        arrays[name] = strided(storages[key], *tensor[1:])
    return arrays


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Tensors by name, of the dict itself or of its entry in WRAPPERS with the most tensors."""
    inner = [content.get(name) for name in WRAPPERS] if isinstance(content, Mapping) else []
    found = max(map(named_tensors, [content, *inner]), key=len)
    if not found:
        raise InputError(f"{path}: holds no tensors by name; {SAVE_STATE_DICT}")
    return found


def named_tensors(content: Any) -> dict[str, Tensor]:
    """Entries of a dict that are tensors; none where it is not a dict."""
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def numbers(storage: Storage, data: bytes, order: str) -> np.ndarray:
    """The values of a storage (count,), floating-point ones as float32."""
    array = np.frombuffer(data, storage.dtype)
    if len(array) != storage.count:
        raise ValueError(f"storage {storage.key} holds {len(array)} numbers, not {storage.count}")
    return as_float32(array if order == sys.byteorder else array.byteswap())


def as_float32(array: np.ndarray) -> np.ndarray:
    """The array; as float32 if it is floating-point."""
    # by name, as MindSpore registers another bfloat16 and NumPy may use either
    is_float = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    with np.errstate(over="ignore"):  # large float64 values become infinite
        return array.astype(np.float32) if is_float else array


def strided(storage: np.ndarray, offset: int, size: tuple, stride: tuple) -> np.ndarray:
    """A copy of the tensor of shape `size`; ValueError where it exceeds the storage."""
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise ValueError("impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if math.prod(size) > len(storage) or (math.prod(size) and last >= len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()
