"""What an input stands for: by content, not by name."""

import os
import socket

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.files.file_kinds import IMAGE, VIDEO
from src.prediction.inputs import find_inputs
from src.prediction.targets import plan_targets
from src.runtime.errors import InputError
from tests.datasets import write_video


@pytest.fixture
def folder(tmp_path):
    """a.png, B.JPG, sub/c.png, clip.avi of 7 frames, and a text file."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "B.JPG", "sub/c.png"):
        cv2.imwrite(str(tmp_path / name), np.full((20, 30, 3), (10, 20, 200), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    write_video(tmp_path / "clip.avi", 7)
    return tmp_path


def names(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_a_folder_with_all_below_it(folder):
    inputs = find_inputs(str(folder), folder / "out")
    assert names(inputs.images, folder) == ["B.JPG", "a.png", "sub/c.png"]
    assert names(inputs.videos, folder) == ["clip.avi"]
    assert inputs.lines() == ["passed over 1 path: neither image nor video (notes.txt)"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png"]),
        ("**/*.png", ["a.png", "sub/c.png"]),
        ("*.*", ["B.JPG", "a.png", "clip.avi"]),
        ("notes.txt", ["notes.txt"]),  # who names a file means it
        ("sub/c.png", ["sub/c.png"]),
    ],
)
def test_patterns_and_files(folder, pattern, found):
    inputs = find_inputs(str(folder / pattern), folder / "out")
    assert sorted(names(inputs.images + inputs.videos, folder)) == found


@pytest.mark.parametrize("what", ["none.jpg", "*.gif", "empty"])
def test_nothing_found(folder, what):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="check --input"):
        find_inputs(str(folder / what), folder / "out")


def test_earlier_predictions_are_left_out(folder):
    inputs = find_inputs(str(folder), folder / "sub")
    assert inputs.passed_over["earlier output"] == [f"{folder / 'sub'}/"]
    assert names(inputs.images, folder) == ["B.JPG", "a.png"]
    inputs = find_inputs(str(folder / "**/*.png"), folder / "sub")
    assert names(inputs.images, folder) == ["a.png"]
    inputs = find_inputs(str(folder / "sub/c.png"), folder / "sub")  # who names it means it
    assert names(inputs.images, folder) == ["sub/c.png"]


def test_output_that_holds_all_of_the_input(folder):
    with pytest.raises(InputError, match="all of it is in .*; set --output to another folder"):
        find_inputs(str(folder / "sub"), folder)


def test_content_decides(folder):
    (folder / "a.png").rename(folder / "picture")
    (folder / "B.JPG").rename(folder / "clip.mp4")
    (folder / "clip.avi").rename(folder / "clip.txt")
    Image.new("RGB", (8, 8)).save(folder / "moving.gif")
    (folder / "moving.gif").rename(folder / "moving.jpg")
    (folder / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "cut.jpg").write_bytes(b"")
    (folder / "cut.mp4").write_text("no video")
    (folder / "none").write_bytes(b"")
    inputs = find_inputs(str(folder), folder / "out")
    # what is named like an image or video and is neither fails when it is read
    assert names(inputs.images, folder) == ["clip.mp4", "cut.jpg", "picture", "sub/c.png"]
    assert names(inputs.videos, folder) == ["clip.txt", "cut.mp4"]
    assert inputs.lines() == [
        "passed over 1 path: GIF, which is not read; convert to JPEG, PNG or MP4 (moving.jpg)",
        "passed over 1 path: empty (none)",
        "passed over 1 path: neither image nor video (notes.txt)",
        "passed over 1 path: HEIC, which is not read; convert to JPEG, PNG or MP4 (phone.jpg)",
    ]


def test_what_systems_leave(folder):
    double = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "__MACOSX/._a.png", "sub/double.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(double)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "a.png").write_bytes((folder / "a.png").read_bytes())
    inputs = find_inputs(str(folder), folder / "out")
    assert names(inputs.images, folder) == ["B.JPG", "a.png", "sub/c.png"]
    hidden = (".ipynb_checkpoints/", "__MACOSX/", ".DS_Store", "._a.png", "Thumbs.db")
    assert inputs.passed_over["hidden, or left by a system"] == [
        *(f"{folder}/{name}" for name in hidden),
        f"{folder}/sub/double.png",
    ]
    assert inputs.lines()[0] == (
        "passed over 6 paths: hidden, or left by a system "
        "(.ipynb_checkpoints/, __MACOSX/, .DS_Store and 3 more)"
    )
    # who names a hidden file or folder means it
    for text in (".ipynb_checkpoints", ".ipynb_checkpoints/a.png", ".ipynb*/*"):
        inputs = find_inputs(str(folder / text), folder / "out")
        assert names(inputs.images, folder) == [".ipynb_checkpoints/a.png"]


def test_links_and_what_is_no_file(folder):
    (folder / "linked").symlink_to(folder / "sub")
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        inputs = find_inputs(str(folder), folder / "out")
    assert "gone.jpg" in names(inputs.images, folder)  # fails when it is read
    assert inputs.passed_over["no regular file"] == [f"{folder}/pipe.jpg", f"{folder}/s"]
    linked = "a link to a folder; give it as --input"
    assert inputs.passed_over[linked] == [f"{folder}/linked/"]


def test_a_link_that_leads_to_itself(folder):
    (folder / "loop.jpg").symlink_to("loop.jpg")
    inputs = find_inputs(str(folder), folder / "loop.jpg")  # as --output, too
    assert names(inputs.images, folder) == ["B.JPG", "a.png", "loop.jpg", "sub/c.png"]
    assert "loop.jpg" in names(find_inputs(f"{folder}/*.jpg", folder / "out").images, folder)
    assert plan_targets(folder / "out", str(folder), inputs)[folder / "loop.jpg"] == (
        folder / "out" / "loop.jpg"
    )
    with pytest.raises(InputError, match="loop.jpg is a link to loop.jpg, which leads nowhere"):
        find_inputs(str(folder / "loop.jpg"), folder / "out")


def test_only_a_camera_is_read_of_what_is_no_file(folder, monkeypatch):
    os.mkfifo(folder / "pipe.jpg")
    with pytest.raises(InputError, match="pipe.jpg: is a pipe, neither a file nor a camera"):
        find_inputs(str(folder / "pipe.jpg"), folder / "out")
    with pytest.raises(InputError, match="/dev/null: is a device, neither"):
        find_inputs("/dev/null", folder / "out")
    monkeypatch.setattr("src.runtime.special_files.CAMERA_MAJOR", 1)  # of /dev/null
    assert find_inputs("/dev/null", folder / "out").stream == "/dev/null"


@pytest.mark.parametrize("text", ["0", "12", "rtsp://cam/live", "HTTPS://x.org/a.mp4", "udp://:1"])
def test_cameras_and_addresses(tmp_path, text, monkeypatch):
    monkeypatch.setattr("src.prediction.inputs.address_content", lambda address: (VIDEO, ""))
    inputs = find_inputs(text, tmp_path)
    assert (inputs.stream, inputs.all) == (text, [text])


def test_a_list_of_inputs(folder, monkeypatch):
    def kind(address):
        if "gone" in address:
            raise InputError("http://h/gone: nothing of this name is there")
        return (IMAGE if address.endswith("picture") else VIDEO), ""

    monkeypatch.setattr("src.prediction.inputs.address_content", kind)
    addresses = "http://me:secret@h/gone, http://h/picture, rtsp://h/live, 0"
    inputs = find_inputs(f"[{folder}/a.png, {addresses}, {folder}]", folder / "out")
    assert [str(image) for image in inputs.images] == [
        f"{folder}/a.png", "http://h/picture", f"{folder}/B.JPG", f"{folder}/sub/c.png",
    ]  # fmt: skip
    assert inputs.videos == ["rtsp://h/live", "0", folder / "clip.avi"]
    assert (inputs.stream, inputs.failed) == (
        "",
        {"http://h/gone": "nothing of this name is there"},
    )
    assert inputs.lines()[-1] == "failed: http://h/gone: nothing of this name is there"
    with pytest.raises(InputError, match="no input can be read\n  http://h/gone: nothing of this"):
        find_inputs("['http://h/gone']", folder / "out")
    with pytest.raises(InputError, match=r"none\.jpg: no such file, folder or match"):
        find_inputs("[none.jpg, http://h/picture]", folder / "out")


def test_a_folder_called_0_is_no_camera(folder, monkeypatch):
    (folder / "sub").rename(folder / "0")
    monkeypatch.chdir(folder)
    assert names(find_inputs("0", folder / "out").images, folder.__class__()) == ["0/c.png"]


def test_formats_that_are_not_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"a\.gif: GIF, which is not read; convert to JPEG, PNG"):
        find_inputs(str(tmp_path / "a.gif"), tmp_path / "out")
    with pytest.raises(
        InputError, match=r"holds nothing that is read; passed over 1 path: GIF.*\(a\.gif\)$"
    ):
        find_inputs(str(tmp_path), tmp_path / "out")
