"""Pipes, sockets and devices, which readers refuse: reading one may never end."""

import errno
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
CAMERA_MAJOR = 81  # Linux's number of the driver of cameras


def special_kind(path: str | Path) -> str:
    """ "a pipe", "a socket" or "a device"; "" for anything else, or if nothing is there."""
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "")
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return ""


def refuse_special(path: str | Path) -> None:
    """OSError for a pipe, a socket or a device; called before a file is opened."""
    if kind := special_kind(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def is_camera(path: str | Path) -> bool:
    """Whether it is the device of a camera, as /dev/video0 is."""
    found = os.stat(path)
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == CAMERA_MAJOR


def real_path(path: str | Path) -> Path:
    """The absolute path without links; unlike `Path.resolve` it accepts a link to itself."""
    return Path(os.path.realpath(path))
