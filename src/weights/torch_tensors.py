"""Tensors in PyTorch's files: checks what a pickle says of them, and makes arrays."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from src.runtime.text import printable

STORAGE_DTYPES = {
    "torch.FloatStorage": "f4", "torch.DoubleStorage": "f8", "torch.HalfStorage": "f2",
    "torch.LongStorage": "i8", "torch.IntStorage": "i4", "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1", "torch.ByteStorage": "u1", "torch.BoolStorage": "?",
    "torch.BFloat16Storage": ml_dtypes.bfloat16,
}  # fmt: skip
UNREAD_SIZES = {  # bytes of a number in storages that are skipped
    "torch.ComplexFloatStorage": 8, "torch.ComplexDoubleStorage": 16, "torch.QInt32Storage": 4,
    "torch.QInt8Storage": 1, "torch.QUInt8Storage": 1,
}  # fmt: skip
MAX_DIMS = 16
MAX_SIZE = 2**62  # of an element of a shape; far beyond any file
SHOWN_LETTERS = 80


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A name of another package, or an object that it would have made.

    It `has_data` if it would have been made from a storage, a tensor or an array.
    """

    name: str
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class Storage:
    """Data of one or several tensors: key in the file, class such as torch.FloatStorage, count."""

    key: str
    kind: str
    count: int

    @property
    def dtype(self) -> np.dtype | None:
        """None if it is not read."""
        found = STORAGE_DTYPES.get(self.kind)
        return found and np.dtype(found)

    @property
    def num_bytes(self) -> int | None:
        """None if the class is unknown."""
        size = self.dtype.itemsize if self.dtype else UNREAD_SIZES.get(self.kind)
        return None if size is None else self.count * size


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that is not read yet.

    The attributes are those that the file gives, of any type until `check` was called.
    """

    storage: Any
    offset: Any
    size: Any
    stride: Any

    def unknown(self) -> str | None:
        """The unknown name on which the tensor depends; None if there is none."""
        shape = [part for part in (self.size, self.stride) if type(part) is tuple]
        inner = [element for part in shape for element in part[:MAX_DIMS]]
        for value in (self.storage, self.offset, self.size, self.stride, *inner):
            if isinstance(value, Placeholder):
                return value.name
        is_storage = isinstance(self.storage, Storage)
        return self.storage.kind if is_storage and self.storage.dtype is None else None

    def check(self) -> None:
        """ValueError if it is malformed or reaches beyond its storage."""
        if type(self.size) is not tuple or type(self.stride) is not tuple:
            raise ValueError("a shape that is no tuple")
        if len(self.size) != len(self.stride) or len(self.size) > MAX_DIMS:
            raise ValueError("impossible dimensions")
        parts = (self.offset, *self.size, *self.stride)
        if not all(isinstance(part, int) and 0 <= part < MAX_SIZE for part in parts):
            raise ValueError("impossible shape")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        if self.count > self.storage.count or (self.count and last >= self.storage.count):
            raise ValueError("a tensor reaches beyond its storage")

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.size)

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """A copy of the tensor's part of its storage's numbers (count,)."""
        steps = tuple(step * numbers.itemsize for step in self.stride)
        start = numbers[self.offset :]
        return np.lib.stride_tricks.as_strided(start, self.size, steps).copy()


def shown(text: str) -> str:
    """A name in a file, short and printable in one line."""
    return printable(text if len(text) <= SHOWN_LETTERS else text[: SHOWN_LETTERS - 3] + "...")


def as_float32(array: np.ndarray) -> np.ndarray:
    """The array; as float32 if it is floating-point."""
    # by name, as MindSpore registers another bfloat16 and NumPy may use either
    is_float = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    with np.errstate(over="ignore"):  # large float64 values become infinite
        return array.astype(np.float32) if is_float else array


def numbers_of(storage: Storage, data: bytes, order: str) -> np.ndarray:
    """The numbers of a storage (count,), floating-point ones as float32."""
    array = np.frombuffer(data, storage.dtype)
    if len(array) != storage.count:
        raise ValueError(f"storage {storage.key} holds {len(array)} numbers, not {storage.count}")
    return as_float32(array if order == sys.byteorder else array.byteswap())
