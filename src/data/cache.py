"""Annotations saved on disk, for the next run and for the other ranks of this one."""

import fcntl
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import get_type_hints

import msgspec
import numpy as np

from src.data.annotations import Annotations
from src.data.signs.sign import Sign
from src.runtime.files import write_atomically

VERSION = 8  # of the readers and of this format: raise it when either changes
CHUNK = 1 << 22  # bytes that are hashed at a time
UNREADABLE = (OSError, ValueError)  # ValueError: a null byte in the name
# what reading a damaged entry raises, a flipped bit included
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile,
    msgspec.MsgspecError,
)  # fmt: skip
ARRAYS = ("file_names", "image_ids", "sizes", "offsets", "boxes", "labels", "crowd", "truth")


def cache_key(read: Iterable[Path], looked_at: Iterable[Path], settings: Iterable) -> str:
    """A name for what comes from files under settings, which are plain data.

    Of the files `read` the content counts; of those `looked_at`, images, size and time of change.
    """
    digest = hashlib.blake2b(json.dumps([VERSION, *settings]).encode(), digest_size=16)
    for path in read:
        digest.update(os.fsencode(path) + b"\0")
        with suppress(*UNREADABLE), open(path, "rb") as file:
            digest.update(b"content\0")
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    for path in looked_at:
        digest.update(os.fsencode(path) + b"\0")
        with suppress(*UNREADABLE):
            status = os.stat(path)
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def cached(folder: Path, key: str, read: Callable[[], tuple[Annotations, bool]]) -> Annotations:
    """The annotations that `read` returns with whether to save them; from `folder` if saved before.

    Of several processes that ask at once one reads and the others wait for its result. A damaged
    entry is replaced; nothing is saved in a folder that cannot be written to.
    """
    path = folder / f"annotations-{key}.npz"
    if (annotations := load(path)) is not None:
        return annotations
    with locked(folder):
        annotations = load(path)  # another process may have been faster
        if annotations is None:
            annotations, is_valid = read()
            if is_valid:
                save(path, annotations)
    return annotations


def cached_names(folder: Path, key: str, find: Callable[[], list[str]]) -> list[str]:
    """The names that `find` returns; from `folder` if saved before. Nothing is saved of errors."""
    path = folder / f"classes-{key}.json"
    with suppress(*DAMAGE):
        names = json.loads(path.read_text())
        if all(isinstance(name, str) for name in names):
            return names
    names = find()
    with suppress(OSError):
        write_atomically(path, json.dumps(names))
    return names


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, where the file system supports one."""
    with ExitStack() as held:
        with suppress(OSError):  # each process reads, for example in a read-only folder
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(folder / ".lock", "w"))
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield


def save(path: Path, annotations: Annotations) -> None:
    """Writes the annotations beside `path` and renames the file; does nothing where it cannot."""
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    plain = dict(vars(annotations))
    arrays = {name: plain.pop(name) for name in ARRAYS if plain[name] is not None}
    text = json.dumps(plain, default=plain_value)
    with suppress(OSError):
        np.savez(beside, plain=np.frombuffer(text.encode(), np.uint8), **arrays)
        os.replace(beside, path)
    with suppress(OSError):  # an incomplete file, of a full disk
        beside.unlink()


def plain_value(value: Sign | Path) -> dict | str:
    """What JSON keeps of a value."""
    return vars(value) if isinstance(value, Sign) else str(value)


def load(path: Path) -> Annotations | None:
    """The annotations saved at `path`; None where there are none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as content:
            plain = json.loads(content["plain"].tobytes())
            arrays = {name: content[name] for name in content.files if name != "plain"}
        kinds = get_type_hints(Annotations)
        for name, value in plain.items():  # JSON has neither tuples nor paths
            plain[name] = msgspec.convert(value, kinds[name], dec_hook=lambda kind, v: kind(v))
        return Annotations(**arrays, **plain)
    except DAMAGE:
        return None
