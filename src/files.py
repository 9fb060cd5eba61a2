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
