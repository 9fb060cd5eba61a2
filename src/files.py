"""Checks of paths that a user gives, before any work is done with them."""

import os
from pathlib import Path

from src.errors import InputError


def check_file(path: str) -> None:
    """InputError unless `path` is empty or a file that can be read."""
    if path and not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path or leave the key empty")
    if path and not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it")


def make_output_folder(path: str) -> Path:
    """The folder, made if it is not there; InputError where it cannot be written to."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written to: {error.strerror}; set --output_path to another folder"
        ) from error
    return folder


def require(cfg, key: str) -> str:
    """The key's value; InputError where it is empty."""
    if not cfg[key]:
        raise InputError(f"--{key} is needed")
    return cfg[key]


def write_atomically(path: Path, text: str) -> None:
    """Writes the text beside `path` and moves it there; makes the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
