"""Output files: links, devices and pipes stay, and impossible paths are refused at the start."""

import os
import threading
from pathlib import Path

import pytest

from src.runtime.errors import InputError
from src.runtime.files import (
    JsonList,
    check_output_file,
    make_output_folder,
    write_atomically,
)


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "real.json"
    target.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("there/real.json")
    write_atomically(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    with JsonList(link) as entries:
        entries.append(1)
    assert link.is_symlink() and target.read_text() == "[\n1\n]\n"
    assert sorted(os.listdir(tmp_path / "there")) == ["real.json"]


def test_a_pipe_is_written_to(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_atomically(pipe, "text")
    reader.join()
    assert read == ["text"] and pipe.is_fifo()


def test_a_full_device_stays_one():
    with pytest.raises(OSError, match="No space left") as error:
        write_atomically(Path("/dev/full"), "text")
    assert error.value.filename == "/dev/full" and Path("/dev/full").is_char_device()


def test_a_link_in_a_circle(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        write_atomically(tmp_path / "loop", "text")
    with pytest.raises(InputError, match="loop is a link to loop, which leads nowhere; set --out"):
        make_output_folder(str(tmp_path / "loop"))


@pytest.mark.parametrize(
    ("path", "found"),
    [("", "empty"), (".", "empty"), ("..", "[.][.], a folder"), ("/", "/, a folder")],
)
def test_no_file_to_write(path, found):
    with pytest.raises(InputError, match=f"^--report is {found}; expected a file to write$"):
        check_output_file(path, "report")


@pytest.mark.parametrize(
    ("path", "found"),
    [("", "--output_path is empty"), ("/dev/null", "/dev/null: is no regular file; expected a f")],
)
def test_no_folder_to_write_to(path, found):
    with pytest.raises(InputError, match=found):
        make_output_folder(path)
