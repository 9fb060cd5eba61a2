"""Reads tensors from PyTorch files without PyTorch and without running pickled code.

Source: torch/serialization.py, for the zip format (since 1.6) and the one before.
"""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from src.runtime.errors import InputError
from src.weights.torch_pickle import NUMPY_ARRAYS, TensorUnpickler
from src.weights.torch_tensors import Placeholder, Storage, Tensor, numbers_of, shown
from src.weights.training_notes import Notes, notes_of

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
BYTE_ORDERS = ("little", "big")
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")  # keys used by training scripts
MAX_KEY = 100  # letters of a key that names a part of the file, such as "teacher"
MAX_SHARING = 16  # tensors that share a number, on average; detectors share heads over five levels
SAVE_STATE_DICT = "save the weights alone with torch.save(model.state_dict(), path)"

Read = Callable[[Storage], bytes]


class TorchFile(NamedTuple):
    """A state dict, arrays by name, floating-point ones as float32; and the notes beside it."""

    arrays: dict[str, np.ndarray]
    notes: Notes


def read_torch_file(path: Path) -> TorchFile:
    """The state dict in a .pth or .pt file; InputError if no tensors can be read."""
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


def read_zip(archive: zipfile.ZipFile, path: Path) -> TorchFile:
    """`read_torch_file` of PyTorch 1.6 and later."""
    (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    root = pickled[: -len("data.pkl")]

    def read(name: str, size: int | None = None) -> bytes:
        entry = archive.getinfo(root + name)
        if entry.compress_type != zipfile.ZIP_STORED:  # PyTorch never compresses; may be huge
            raise ValueError(f"{name} is compressed")
        if size not in (None, entry.file_size):
            raise ValueError(f"{name} has {entry.file_size} bytes, not {size}")
        return archive.read(entry)

    order = read("byteorder") if root + "byteorder" in archive.namelist() else b"little"
    content = TensorUnpickler(io.BytesIO(read("data.pkl")), path).load()
    arrays = arrays_of(
        content,
        lambda storage: read(f"data/{storage.key}", storage.num_bytes),
        order.decode(),
        path,
    )
    return TorchFile(arrays, notes_of(content))


def read_legacy(file: BinaryIO, path: Path) -> TorchFile:
    """`read_torch_file` of PyTorch before 1.6: several pickles, then the data."""
    unpickler = TensorUnpickler(file, path)
    if unpickler.load() != LEGACY_MAGIC or unpickler.load() != LEGACY_PROTOCOL:
        raise ValueError("another magic number")
    order = "little" if unpickler.load()["little_endian"] else "big"
    content, keys = unpickler.load(), unpickler.load()
    if not all(type(key) is str for key in keys):  # others may take forever to hash
        raise ValueError("a storage's key that is no string")
    starts = legacy_starts(file, [unpickler.storages[key] for key in keys], path)

    def read(storage: Storage) -> bytes:
        file.seek(starts[storage.key])
        return file.read(storage.num_bytes)

    return TorchFile(arrays_of(content, read, order, path), notes_of(content))


def legacy_starts(file: BinaryIO, storages: list[Storage], path: Path) -> dict[str, int]:
    """Where in the file the numbers of each storage start, by key."""
    starts = {}
    for storage in storages:
        if storage.num_bytes is None:
            raise InputError(
                f"{path}: holds numbers of the unknown type {storage.kind}; {SAVE_STATE_DICT}"
            )
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise ValueError(f"storage {storage.key} holds {count} numbers, not {storage.count}")
        starts[storage.key] = file.tell()
        if file.seek(storage.num_bytes, io.SEEK_CUR) > path.stat().st_size:
            raise ValueError("the file is cut short")
    return starts


def arrays_of(content: Any, read: Read, order: str, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict, which may be part of a training script's checkpoint."""
    tensors = tensors_of(content, path)
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if sum(storage.num_bytes for storage in storages.values()) > path.stat().st_size:
        raise ValueError("storages larger than the file")
    numbers_stored = sum(storage.count for storage in storages.values())
    if sum(tensor.count for tensor in tensors.values()) > MAX_SHARING * numbers_stored:
        raise ValueError("tensors share too many numbers")
    if order not in BYTE_ORDERS:
        raise ValueError("unknown byte order")
    numbers = {key: numbers_of(storage, read(storage), order) for key, storage in storages.items()}
    return {name: tensor.array(numbers[tensor.storage.key]) for name, tensor in tensors.items()}


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of the state dict, checked, by name; InputError for none or an unknown name."""
    found = state_dict_in(content)
    if not found:
        raise InputError(
            f"{path}: holds no tensors by name{objects_in(content)}; {SAVE_STATE_DICT}"
        )
    for name, tensor in found.items():
        unknown = tensor.name if isinstance(tensor, Placeholder) else tensor.unknown()
        if unknown in NUMPY_ARRAYS:
            raise InputError(f"{path}: {shown(name)} is a NumPy array; save it as a tensor")
        if unknown:
            raise InputError(
                f"{path}: tensor {shown(name)} depends on {unknown}, which is unknown here and was "
                f"not run; {SAVE_STATE_DICT}"
            )
        tensor.check()
    return found


def state_dict_in(content: Any) -> dict[str, Tensor | Placeholder]:
    """Tensors by name: of the dict itself, or of its entry in WRAPPERS with the most tensors.

    Without such an entry, those of all dicts in it, with the keys of these as prefixes; a file of
    self-supervised training has "student" and "teacher".
    """
    if not isinstance(content, dict):
        return {}
    wrapped = max((named_tensors(content.get(name)) for name in WRAPPERS), key=len)
    own = named_tensors(content)
    if wrapped:
        return max(wrapped, own, key=len)
    # each dict once, however often a file names it
    parts = {id(part): (key, part) for key, part in content.items() if len(key) <= MAX_KEY}
    joined = {
        f"{key}.{name}": tensor
        for key, part in parts.values()
        for name, tensor in named_tensors(part).items()
    }
    return max(own, joined, key=len)


def named_tensors(content: Any) -> dict[str, Tensor | Placeholder]:
    """Entries of a dict that are tensors, or would be; none if it is not a dict."""
    if not isinstance(content, dict):
        return {}
    return {
        name: value
        for name, value in content.items()
        if isinstance(value, Tensor) or (isinstance(value, Placeholder) and value.has_data)
    }


def objects_in(content: Any) -> str:
    """The first unknown object in a file without weights, for its error."""
    parts = content.values() if isinstance(content, dict) else [content]
    names = (part.name for part in parts if isinstance(part, Placeholder))
    name = next(names, None)
    return f", but an object of {name}, which was not run" if name else ""
