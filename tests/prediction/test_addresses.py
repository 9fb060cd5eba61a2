"""Pictures at addresses, and why there is none, with servers of the test's own."""

import socket

import cv2
import numpy as np
import pytest

from src.data.files.file_kinds import IMAGE, VIDEO
from src.prediction.addresses import address_content
from src.prediction.inputs import find_inputs
from src.prediction.sources import Video, read_images
from src.runtime.errors import InputError
from tests.streams import Answers, answering, served

RED = np.full((20, 30, 3), (10, 20, 200), np.uint8)
PICTURES = {suffix: cv2.imencode(suffix, RED)[1].tobytes() for suffix in (".jpg", ".png", ".webp")}


class Files(Answers):
    answers = {  # noqa: RUF012
        "/a.jpg": (200, "image/jpeg", PICTURES[".jpg"]),
        "/snapshot.cgi?user=1&size=2": (200, "image/png", PICTURES[".png"]),
        "/a%20b/caf%C3%A9": (200, "", PICTURES[".webp"]),
        "/clip.mp4": (200, "application/octet-stream", PICTURES[".jpg"]),
        "/private": (200, "image/jpeg", PICTURES[".jpg"]),
        "/digest": (200, "image/jpeg", PICTURES[".jpg"]),
        "/movie.jpg": (200, "application/octet-stream", b"\0\0\0\x18ftypisom\0\0\0\0isom"),
        "/live.jpg": (200, "multipart/x-mixed-replace; boundary=x", b"--x\r\n"),
        "/list.m3u8": (200, "application/vnd.apple.mpegurl", b"#EXTM3U\n"),
        "/damaged.jpg": (200, "image/jpeg", PICTURES[".jpg"][:300]),
        "/a.gif": (200, "image/gif", b"GIF89a" + bytes(20)),
        "/page": (200, "text/html", b"<!DOCTYPE html><title>Camera</title>"),
        "/untyped": (200, "", b"no camera"),
        "/500": (500, "", b""),
    }


@pytest.fixture(scope="module")
def server():
    with served(Files) as address:
        yield address


@pytest.fixture
def quick(monkeypatch):
    """Short time-outs."""
    for module in ("addresses", "sources"):
        monkeypatch.setattr(f"src.prediction.{module}.OPEN_TIMEOUT", 0.5)


@pytest.mark.parametrize(
    "path", ["a.jpg", "snapshot.cgi?user=1&size=2", "a b/caf\u00e9", "clip.mp4"]
)
def test_pictures_by_their_content(server, tmp_path, path):
    address = f"{server}/{path}"
    inputs = find_inputs(address, tmp_path)
    assert (inputs.images, inputs.stream) == ([address], "")
    (frame,) = read_images(inputs.images)
    assert (frame.path, frame.seconds, frame.image.shape) == (address, None, (20, 30, 3))
    assert np.abs(frame.image[5, 5].astype(int) - (200, 20, 10)).max() < 6


def test_videos_by_their_content(server):
    for path in ("movie.jpg", "live.jpg", "list.m3u8"):
        assert address_content(f"{server}/{path}")[0] == VIDEO


@pytest.mark.parametrize("path", ["private", "digest"])
def test_a_picture_for_those_with_a_password(server, path):
    address = server.replace("://", "://me:secret@") + f"/{path}"
    assert address_content(address) == (IMAGE, "JPEG")
    (frame,) = read_images([address])
    assert (frame.path, frame.error) == (f"{server}/{path}", "")
    hint = r"give user and password as in http://USER:PASSWORD@HOST/\.\.\."
    with pytest.raises(InputError, match=f"/{path}: HTTP 401 .*; {hint}$") as caught:
        address_content(address.replace("secret", "wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(InputError, match=f"/{path}: HTTP 401 Unauthorized; {hint}$"):
        address_content(f"{server}/{path}")


def test_pictures_that_fail_when_they_are_read(server):
    damaged, gone = read_images([f"{server}/damaged.jpg", f"{server}/gone.jpg"])
    assert damaged.error == "not an image that can be decoded; damaged, or cut off?"
    assert gone.error == "HTTP 404 Not Found; check the address"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.mp4", "HTTP 404 Not Found; check the address"),
        ("500", "HTTP 500 Internal Server Error; check the address"),
        ("a.gif", "GIF, which is not read; convert to JPEG, PNG or MP4"),
    ],
)
def test_what_a_web_server_refuses(server, tmp_path, path, reason):
    with pytest.raises(InputError, match=f"^{server}/{path}: {reason}$"):
        find_inputs(f"{server}/{path}", tmp_path)


def test_what_is_no_video(server):
    with pytest.raises(InputError, match="/page: .* no picture or video: its type is text/html; "):
        Video(f"{server}/page")
    with pytest.raises(InputError, match="/untyped: .* its type is not told; give the address of"):
        Video(f"{server}/untyped")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://me:secret@{}/a.mp4", "cannot be reached: Connection refused; check address and"),
        ("http://nowhere.invalid/a.jpg", "cannot be reached: (Name or service|Temporary fail)"),
        ("http://127.0.0.1:port/a.jpg", "cannot be reached: .*nonnumeric port"),
        ("http://[::1/a.jpg", "cannot be reached: Invalid IPv6 URL; check address"),
        ("http:///a.jpg", "cannot be reached: no host given"),
        ("http://127.0.0.1/caf\udce9", "not UTF-8; check --input"),
    ],
)
def test_addresses_where_nothing_is(tmp_path, address, reason):
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(InputError, match=reason) as caught:
        find_inputs(address.format(place), tmp_path)
    assert "secret" not in str(caught.value)


def test_servers_that_say_nothing(quick, tmp_path):
    with answering(None) as port:
        for scheme in ("http", "rtsp"):
            with pytest.raises(
                InputError,
                match="timed out; check address|FFmpeg can open no video there",
            ):
                Video(find_inputs(f"{scheme}://127.0.0.1:{port}/live", tmp_path).stream)
    with pytest.raises(InputError, match="FFmpeg can open no video there; check address"):
        Video("udp://127.0.0.1:9")


def test_a_host_that_does_not_answer(monkeypatch, tmp_path):
    def late(*arguments, **keys):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", late)
    with pytest.raises(InputError, match="cannot be reached: timed out; check address"):
        find_inputs("http://192.0.2.1/a", tmp_path)


def test_a_camera_that_is_not_there_or_refuses(quick):
    with answering(b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n") as port:
        for place in (f"127.0.0.1:{port}", "127.0.0.1:9", "nowhere.invalid", "[::1"):
            with pytest.raises(InputError, match="FFmpeg can open no video there; ") as caught:
                Video(f"rtsp://me:secret@{place}/live")
            assert "secret" not in str(caught.value)


def test_a_server_of_something_else(tmp_path):
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        with pytest.raises(InputError, match=r"cannot be reached: BadStatusLine\('SSH"):
            find_inputs(f"http://127.0.0.1:{port}/a.jpg", tmp_path)
        with pytest.raises(InputError, match=r"cannot be reached: \[SSL"):
            find_inputs(f"https://127.0.0.1:{port}/a.jpg", tmp_path)
