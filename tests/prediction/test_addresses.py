"""Pictures at addresses, and why there is none, with servers of the test's own."""

import socket

import cv2
import numpy as np
import pytest

from src.data.files.file_kinds import IMAGE, VIDEO
from src.prediction.addresses import address_kind
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
        "/text": (200, "text/plain", b"no camera"),
        "/403": (403, "", b""),
        "/500": (500, "", b""),
        "/418": (418, "", b""),
    }


@pytest.fixture(scope="module")
def server():
    with served(Files) as address:
        yield address


@pytest.fixture
def quick(monkeypatch):
    """Short time-outs."""
    for module in ("unreachable", "addresses", "sources"):
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
        assert address_kind(f"{server}/{path}") == VIDEO


@pytest.mark.parametrize("path", ["private", "digest"])
def test_a_picture_for_those_with_a_password(server, path):
    address = server.replace("://", "://me:secret@") + f"/{path}"
    assert address_kind(address) == IMAGE
    (frame,) = read_images([address])
    assert (frame.path, frame.error) == (f"{server}/{path}", "")
    with pytest.raises(InputError, match=rf"/{path}: wants a user and password, or others; give "
        r"them as in http://USER:PASSWORD@127\.0\.0\.1/\.\.\. \(HTTP 401 Unauthorized\)"
    ) as caught:  # fmt: skip
        address_kind(address.replace("secret", "wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(InputError, match="wants a user and password, or others"):
        address_kind(f"{server}/{path}")


def test_pictures_that_fail_when_they_are_read(server):
    damaged, gone = read_images([f"{server}/damaged.jpg", f"{server}/gone.jpg"])
    assert damaged.error == "not an image that can be decoded; damaged, or cut off?"
    assert gone.error == (
        "nothing of this name is there; check what follows the host's name (HTTP 404 Not Found)"
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.mp4", r"nothing of this name is there; check .* \(HTTP 404 Not Found\)"),
        ("403", r"the server refuses; it may want another user .* \(HTTP 403 Forbidden\)"),
        ("500", r"the server has a fault; try again later.* \(HTTP 500 Internal Server Error\)"),
        ("418", r"the server refuses; check the address \(HTTP 418 I'm a Teapot\)"),
        ("a.gif", "GIF, which is not read; convert to JPEG, PNG or MP4"),
    ],
)
def test_what_a_web_server_refuses(server, path, reason):
    with pytest.raises(InputError, match=f"^{server}/{path}: {reason}$"):
        address_kind(f"{server}/{path}")


def test_what_is_no_video(server):
    with pytest.raises(InputError, match=r"/page: .* is no picture or video: it is a web page"):
        Video(f"{server}/page")
    with pytest.raises(InputError, match="it is text/plain, which begins 'no camera'; give the"):
        Video(f"{server}/text")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("rtsp://me:secret@{}/live", r"nothing listens at port \d+ of 127\.0\.0\.1 \(connection"),
        ("http://me:secret@{}/a.mp4", r"nothing listens at port \d+ of 127\.0\.0\.1 \(connection"),
        ("tcp://{}", r"nothing listens at port \d+ of 127\.0\.0\.1 \(connection"),
        ("http://nowhere.invalid/a.jpg", r"the name nowhere\.invalid is not known here"),
        ("rtsp://nowhere.invalid/live", r"the name nowhere\.invalid is not known here"),
        ("http://127.0.0.1:port/a.jpg", "is no address: Port could not be cast"),
        ("http://[::1/a.jpg", "is no address: Invalid IPv6 URL; check --input"),
        ("rtsp://[::1/live", "is no address: Invalid IPv6 URL; check --input"),
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
                match=f"port {port} of 127.0.0.1 is open, but nothing comes within 0.5 s",
            ):
                Video(find_inputs(f"{scheme}://127.0.0.1:{port}/live", tmp_path).stream)
    with pytest.raises(InputError, match=r"no video there within 0\.5 s; check address"):
        Video("udp://127.0.0.1:9")


def test_a_host_that_does_not_answer(monkeypatch, tmp_path):
    def late(*arguments, **keys):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", late)
    for scheme in ("http", "rtsp"):
        with pytest.raises(InputError, match="no answer from 192.0.2.1 within 5 s; check address"):
            find_inputs(f"{scheme}://192.0.2.1/a", tmp_path)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n", r"nothing of this .*\(RTSP 404 Not Found\)"),
        (b"RTSP/1.0 401 Unauthorized\r\n\r\n", r"wants a user and password, .*rtsp://USER:PASS"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "answers, but sends no video that can be read"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "what answers does not speak RTSP; check scheme"),
    ],
)
def test_what_a_camera_says(quick, tmp_path, reply, reason):
    with answering(reply) as port, pytest.raises(InputError, match=reason):
        Video(find_inputs(f"rtsp://127.0.0.1:{port}/live", tmp_path).stream)


def test_a_server_of_something_else(tmp_path):
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        with pytest.raises(InputError, match="does not speak HTTP; check scheme and port"):
            find_inputs(f"http://127.0.0.1:{port}/a.jpg", tmp_path)
        with pytest.raises(InputError, match=f"no TLS at port {port} of 127.0.0.1"):
            find_inputs(f"https://127.0.0.1:{port}/a.jpg", tmp_path)
