"""Cameras and addresses, with a server of the test's own."""

import socket
import time
from functools import partial
from itertools import islice

import pytest

from src.prediction.sources import Video
from src.runtime.errors import InputError
from tests.datasets import write_video
from tests.streams import Camera, Quiet, served


def test_a_file_at_an_address(tmp_path):
    write_video(tmp_path / "clip.avi", 7)
    with served(partial(Quiet, directory=tmp_path)) as address:
        video = Video(f"{address}/clip.avi")
        frames = list(video)
    assert (video.live, video.frames, video.rate) == (False, 7, 8.0)
    assert [frame.number for frame in frames] == list(range(7))
    assert [frame.seconds for frame in frames] == [number / 8 for number in range(7)]
    assert {str(frame.path) for frame in frames} == {f"{address}/clip.avi"}
    assert abs(int(frames[5].image[20, 20, 0]) - 150) < 10


def test_a_camera_that_never_ends():
    with served(Camera) as address:
        video = Video(address.replace("http://", "http://me:secret@") + "/live")
        frames = list(islice(video, 5))
    assert video.live
    assert str(video.name) == f"{address}/live"
    assert frames[0].seconds == 0
    assert all(one.seconds < other.seconds < 30 for one, other in zip(frames, frames[1:]))
    assert frames[4].image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "address",
    ["rtsp://me:secret@127.0.0.1:9/live", "http://127.0.0.1:9/a.mp4", "udp://127.0.0.1:9"],
)
def test_addresses_where_nothing_is(address, monkeypatch):
    monkeypatch.setattr("src.prediction.sources.OPEN_TIMEOUT", 1000)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"no video there within 1 s; check address") as caught:
        Video(address)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 10


def test_a_server_that_says_nothing(monkeypatch):
    monkeypatch.setattr("src.prediction.sources.OPEN_TIMEOUT", 1000)

    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        with pytest.raises(InputError, match="no video there within 1 s"):
            Video(f"rtsp://127.0.0.1:{server.getsockname()[1]}/live")
        assert time.monotonic() - started < 10


def test_a_camera_that_is_not_there():
    with pytest.raises(InputError, match="camera 99: no such camera, or another program has it"):
        Video("99")


def test_an_address_that_is_no_text():
    with pytest.raises(InputError, match="not UTF-8; check --input"):
        Video("http://127.0.0.1/caf\udce9")
