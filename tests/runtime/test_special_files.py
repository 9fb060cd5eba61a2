"""Pipes, sockets and devices are not opened, whoever reads."""

import os
from pathlib import Path

import pytest

from src.data.files.file_kinds import kind_of
from src.data.files.strange_files import head_of
from src.data.images import read_header, read_image
from src.data.problems import Problems
from src.data.readers.text_lines import numbered_lines
from src.data.readers.voc_xml import parse_annotation
from src.data.signs.contents import equal_files
from src.prediction.sources import Video
from src.runtime.errors import InputError
from src.runtime.special_files import is_camera, real_path, special_kind


@pytest.mark.parametrize(
    "read",
    [read_image, read_header, numbered_lines, lambda path: parse_annotation(path, Problems(path)),
     Video, kind_of],
)  # fmt: skip
def test_no_reader_waits_for_a_pipe(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((InputError, OSError), match="it is a pipe, not a regular file"):
        read(tmp_path / "pipe")


def test_what_is_looked_into_beside(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths[:2]:
        os.mkfifo(path)
    paths[2].touch()
    assert (head_of(paths[0]), equal_files(list(map(str, paths)))) == (b"", [])


def test_kinds(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    kinds = [special_kind(path) for path in ("/dev/null", "/dev", __file__, tmp_path / "loop")]
    assert kinds == ["a device", "", "", ""]
    assert not is_camera("/dev/null")
    assert real_path(tmp_path / "loop" / ".." / "a") == Path(os.path.realpath(tmp_path)) / "a"
