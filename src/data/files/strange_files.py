"""Says what a file is, by its first bytes, where it is not what was expected."""

import re
from contextlib import suppress
from pathlib import Path

from src.data.files.file_kinds import VIDEO, sniff, unread_format
from src.runtime.special_files import refuse_special

HEAD = 4096  # bytes that are looked at
SHOWN = 40  # letters of a text
CONVERT = "convert it to JPEG or PNG"
# what a file may be by how it begins, with what to do
STRANGE = (
    (rb"version https://git-lfs", "a git-LFS pointer, not the file; fetch it with 'git lfs pull'"),
    (rb"(?i:\s*(<!doctype html|<html))", "a web page (HTML), not the file; download it once more"),
    (rb"PK\x03\x04", "a zip archive; unpack it"),
    (rb"\x1f\x8b", "compressed with gzip; unpack it with gunzip"),
    (rb"BZh", "compressed with bzip2; unpack it with bunzip2"),
    (rb"\xfd7zXZ\0", "compressed with xz; unpack it with unxz"),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it with unzstd"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (rb"Rar!", "a RAR archive; unpack it"),
    (rb".{257}ustar", "a tar archive; unpack it"),
    (
        rb"\0\x05\x16[\0\x07]",
        "what a Mac's archive keeps beside a file (AppleDouble); leave it out",
    ),
    (rb"\x89HDF\r\n", "HDF5, which is not read"),
    (rb"\x93NUMPY", f"a NumPy array, which is not read; {CONVERT}"),
    (rb"PAR1", "Apache Parquet, which is not read"),
    (rb"SQLite format 3", "a SQLite database, which is not read"),
)


def head_of(path: Path) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    with suppress(OSError, ValueError):
        refuse_special(path)
        with open(path, "rb") as file:
            return file.read(HEAD)
    return b""


def strange_file(head: bytes) -> str:
    """What a file is that begins with these bytes, and what to do; "" where it is not known."""
    for pattern, name in STRANGE:
        if re.match(pattern, head, re.DOTALL):
            return name
    return "nothing but zeros; copy it once more" if head and not head.strip(b"\0") else ""


def not_an_image(path: Path) -> str:
    """Why a file cannot be read as an image; "" where it seems to be one."""
    head = head_of(path)
    if kind := unread_format(path):
        return f"is {kind}, which is not read; {CONVERT}"
    if kind := strange_file(head):
        return f"is {kind}"
    if sniff(head).what == VIDEO:
        return f"is a video ({sniff(head).name}); save its frames as images"
    if text := plain_text(head):
        return f"is text, not an image; it begins {text[:SHOWN]!r}"
    return ""


def plain_text(head: bytes) -> str:
    """The bytes as text; "" where they are not UTF-8 text."""
    is_cut = len(head) == HEAD  # maybe within a letter
    with suppress(UnicodeDecodeError):
        text = head.decode("utf-8-sig", "ignore" if is_cut else "strict")
        if not re.search(r"[\0-\x08\x0e-\x1f\ufffd]", text):
            return text.strip()
    return ""
