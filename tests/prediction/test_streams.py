"""Cameras and addresses, with a server of the test's own."""

from functools import partial
from itertools import islice

import cv2
import numpy as np
import pytest

from src.prediction.inputs import find_inputs
from src.prediction.sources import Video
from src.runtime.errors import InputError
from tests.datasets import write_video
from tests.streams import Camera, Quiet, rtsp_served, served


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


def test_an_rtsp_camera(tmp_path):
    path = tmp_path / "live.ts"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48)
    )
    for number in range(40):
        writer.write(np.full((48, 64, 3), 6 * number, np.uint8))
    writer.release()
    with rtsp_served(path.read_bytes()) as address:
        inputs = find_inputs(address.replace("rtsp://", "rtsp://me:secret@"), tmp_path)
        video = Video(inputs.stream)
        frames = list(islice(video, 5))
        video.capture.release()
    assert (video.name, video.live, video.rate) == (address, True, 10.0)
    assert [frame.number for frame in frames] == list(range(5))
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert abs(int(frame.image[20, 20, 1]) - 6 * frame.number) < 10


def test_a_camera_that_is_not_there():
    with pytest.raises(InputError, match="camera 99: no such camera, or another program has it"):
        Video("99")
