"""Early checks of the user's paths, and files that are written atomically."""

import errno
import json
import math
import os
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.runtime.errors import InputError
from src.runtime.near_path import no_file, no_folder

REPOSITORY = Path(__file__).parents[2]
MAX_PART = 200  # bytes of a name in that of its temporary file; file systems allow 255
OPEN_FILES = ("/dev/std", "/dev/fd/", "/proc/")  # descriptors, also where a shell redirects them
FILE_MODE = 0o644  # MindSpore's own files are readable by their owner only

ENDS = {  # of the files that keys name
    **dict.fromkeys(("train_json", "val_json"), ".json"),
    **dict.fromkeys(("pretrained", "finetune", "resume_from", "checkpoint_path"), ".ckpt"),
}
WHERE_FROM = {
    "pretrained": "\n  to get it: ckpt/README.md says where MindSpore's is from, and "
    "'python3 -m src.weights FILE.pth NAME.ckpt' converts torchvision's or timm's\n  without it: "
    "--pretrained= starts from random weights, --finetune=FILE from a detector (docs/models.md)"
}


def check_file(cfg: Mapping[str, Any], key: str, *, needed: bool = False) -> None:
    """InputError unless the key names a readable file or, if not `needed`, is empty."""
    path = cfg[key]
    if not path and not needed:
        return
    if not path:
        raise InputError(f"--{key} is needed")
    if not os.path.isfile(path):  # unlike Path.is_file, never raises
        hint = f"check --{key}{WHERE_FROM.get(key, '')}"
        raise InputError(f"{no_file(path, ENDS.get(key, ''))}; {hint}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it; check --{key}")


def make_output_folder(path: str, key: str = "output_path") -> Path:
    """Creates the folder if missing; InputError if it cannot be written to."""
    if not path:
        raise InputError(f"--{key} is empty; expected a folder, such as . for this one")
    if os.path.lexists(path) and not os.path.isdir(path):
        raise InputError(f"{no_folder(path)}; set --{key} to another folder")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written to: {error.strerror}; set --{key} to another folder"
        ) from error
    return folder


def user_path(text: str) -> Path:
    """The path of a flag; bash leaves the `~` of `--key=~/file` as it is."""
    return Path(os.path.expanduser(text))


def check_output_file(path: Path | str, key: str) -> None:
    """InputError if no file can be written to the path; creates its folder if missing."""
    if str(path) in ("", ".") or os.path.isdir(path):
        found = "empty" if str(path) in ("", ".") else f"{path}, a folder"
        raise InputError(f"--{key} is {found}; expected a file to write")
    make_output_folder(str(Path(path).parent), key)


def to_json(value: Any) -> str:
    """The value on one line; nan and infinity, which JSON lacks, become null."""
    return json.dumps(without_nan(value), allow_nan=False)


def json_lines(path: Path) -> list[dict]:
    """The records of a file with one a line, without a truncated one; none if there is no file."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with suppress(ValueError):
            records.append(json.loads(line))
    return records


def without_nan(value: Any) -> Any:
    """Replaces every nan and infinity in dicts and lists by None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def part_of(path: Path, suffix: str = "") -> Path:
    """The temporary file beside `path`, with a suffix, that is moved there once it is whole."""
    name = os.fsdecode(os.fsencode(path.name)[:MAX_PART])
    return path.with_name(f".{name}.part{suffix}")


def linked_file(path: Path) -> Path:
    """The target of a link, which is to be replaced instead of it; other paths as they are."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def is_stream(path: Path) -> bool:
    """Whether it is a device or a pipe, which cannot be replaced by a file."""
    is_other = not (os.path.isfile(path) or os.path.isdir(path))
    return os.path.exists(path) and (is_other or str(path).startswith(OPEN_FILES))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a temporary file beside `path` and moves it there; creates the folder if missing.

    Links stay, and so do devices and pipes.
    """
    data = content.encode() if isinstance(content, str) else content
    if is_stream(path):
        with path_in_errors(path), path.open("ab") as stream:
            stream.write(data)
        return
    path = linked_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = part_of(path)
    with path_in_errors(path):
        try:
            beside.write_bytes(data)
            os.replace(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


class JsonList:
    """Writes a JSON list, one entry per line, to a temporary file; moved to `path` at the end.

    At the end the entries are put in the order of their places.

    Args:
        keep: whether an exception, such as a full disk, leaves a file of the entries so far;
            otherwise it leaves none.
    """

    def __init__(self, path: Path, *, keep: bool = False):
        self.path = linked_file(path)
        self.beside = part_of(self.path)
        self.keep = keep
        self.count = 0
        self.places, self.ends = array("q"), array("q")  # of each entry, and where its text ends
        self.is_written = False  # to `path`

    def __enter__(self) -> "JsonList":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with path_in_errors(self.path):
            # without a buffer, which after a failed write would be written again
            self.file = self.beside.open("w+b", buffering=0 if self.keep else -1)
            self._write("[")
            self.end = self.file.tell()  # of the last whole entry
        return self

    def append(self, entry: Any, place: int = 0) -> None:
        """Writes one more entry; `place` is its rank in the order at the end."""
        with path_in_errors(self.path):
            self.end += self._write((",\n" if self.count else "\n") + to_json(entry))
        self.count += 1
        self.places.append(place)
        self.ends.append(self.end)

    def _write(self, text: str) -> int:
        rest = memoryview(text.encode())
        written = len(rest)
        while rest:
            rest = rest[self.file.write(rest) :]
        return written

    def __exit__(self, kind, error, traceback) -> None:
        try:
            with path_in_errors(self.path), self.file:
                if self.keep:
                    self.file.seek(self.end)
                    self.file.truncate()
                self._write("\n]\n")
                self._put_in_order()
            if kind is None or (self.keep and self.count):
                os.replace(self.beside, self.path)
                self.is_written = True
        finally:
            self.beside.unlink(missing_ok=True)

    def _put_in_order(self) -> None:
        """Replaces the temporary file by one in the order of places, if that can be written."""
        order = sorted(range(self.count), key=self.places.__getitem__)
        if order == list(range(self.count)):
            return
        ordered = part_of(self.beside)
        with suppress(OSError):
            with ordered.open("wb") as file:
                for number, index in enumerate(order):
                    start = self.ends[index - 1] + len(",\n") if index else len("[\n")
                    self.file.seek(start)
                    file.write(b",\n" if number else b"[\n")
                    file.write(self.file.read(self.ends[index] - start))
                file.write(b"\n]\n")
            os.replace(ordered, self.beside)
        with suppress(OSError):
            ordered.unlink(missing_ok=True)


@contextmanager
def path_in_errors(path: Path) -> Iterator[None]:
    """Adds the path to an OSError; one from writing to an open file has none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # of a library, in its own words
            raise OSError(errno.EIO, str(error), str(path)) from error
        raise OSError(error.errno, error.strerror, str(path)) from error
