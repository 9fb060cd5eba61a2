"""Writes files as PyTorch would, or as it never would, without PyTorch."""

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def zipped(path: Path, content: bytes, storages=(), *, compression=zipfile.ZIP_STORED) -> Path:
    """A file in PyTorch's zip format around a pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", content)
        for key, data, *_ in storages:
            archive.writestr(f"a/data/{key}", data)
    return path


class Call:
    """Pickled as a call of a name that need not exist, on the arguments."""

    def __init__(self, name: str, *arguments, state=None):
        self.name, self.arguments, self.state = name, arguments, state


class Opcodes(bytes):
    """Written into the pickle as it is."""


class Writer(pickle._Pickler):
    """Writes Calls, Opcodes and storages."""

    def save(self, thing, save_persistent_id=True):
        if isinstance(thing, Call):
            module, _, name = thing.name.rpartition(".")
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
            self.save(thing.arguments)
            self.write(pickle.REDUCE)
            if thing.state is not None:
                self.save(thing.state)
                self.write(pickle.BUILD)
        elif isinstance(thing, Opcodes):
            self.write(thing)
        elif isinstance(thing, tuple) and thing[:1] == ("storage",):
            self.write(pickle.MARK)
            self.save("storage")
            self.write(pickle.GLOBAL + f"torch\n{thing[1]}\n".encode())
            for part in thing[2:]:
                self.save(part)
            self.write(pickle.TUPLE + pickle.BINPERSID)
        else:
            super().save(thing, save_persistent_id)


def pickled(thing) -> bytes:
    file = io.BytesIO()
    Writer(file, 2).dump(thing)
    return file.getvalue()


def tensor(offset, size, stride, *, count=6, kind="FloatStorage"):
    storage = ("storage", kind, "0", "cpu", count)
    return Call(
        "torch._utils._rebuild_tensor_v2", storage, offset, size, stride, False, OrderedDict()
    )


def legacy(path: Path, content: bytes, storages=(), *, keys: bytes | None = None) -> Path:
    """A file in PyTorch's format before 1.6 around a pickle.

    Args:
        storages: key, data, and count where it is not that of 4-byte numbers.
        keys: pickle of the keys, if not that of the storages.
    """
    system = {"protocol_version": LEGACY_PROTOCOL, "little_endian": True, "type_sizes": {}}
    parts = [pickled(LEGACY_MAGIC), pickled(LEGACY_PROTOCOL), pickled(system), content]
    parts.append(keys or pickled([key for key, *_ in storages]))
    for _, data, *count in storages:
        parts += [struct.pack("<q", *(count or [len(data) // 4])), data]
    path.write_bytes(b"".join(parts))
    return path


def state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """A file of float32 and int64 tensors by name, each with a storage of its own."""
    tensors, storages = OrderedDict(), []
    for key, (name, array) in enumerate(arrays.items()):
        kind = {"float32": "FloatStorage", "int64": "LongStorage"}[array.dtype.name]
        storage = ("storage", kind, str(key), "cpu", array.size)
        stride = tuple(step // array.itemsize for step in array.strides)
        tensors[name] = Call(
            "torch._utils._rebuild_tensor_v2",
            *(storage, 0, array.shape, stride, False, OrderedDict()),
        )
        storages.append((str(key), array.tobytes()))
    return zipped(path, pickled(tensors), storages)


def imported() -> set[str]:
    """Modules, without the encodings that zipfile imports."""
    return {name for name in sys.modules if not name.startswith("encodings.")}


DATA = np.arange(6, dtype=np.float32).tobytes()  # of the storage "0"
WEIGHT = tensor(1, (2, 2), (3, 1))  # a part of it, [[1, 2], [4, 5]]
FORMATS = {"zip": zipped, "legacy": legacy}
