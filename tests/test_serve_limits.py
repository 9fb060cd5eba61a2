"""The example service: what it refuses, and with which status."""

import asyncio
import struct
import tempfile
import threading
import zlib

import cv2
import pytest
from PIL import Image

from tests.serving import Blocked, ask, image, make_app, post, until, write_model


@pytest.fixture(autouse=True)
def fresh_pillow(monkeypatch):
    """Pillow's own limit, which other tests of this process take off."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**30 // 4 // 3)


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "detector.onnx")


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size by its header, with next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def webp_header(width: int, height: int) -> bytes:
    """A WebP of this canvas by its header, with an image that is none."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sizes
    body += b"VP8 " + struct.pack("<I", 10) + bytes(10)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("request_", "status", "what"),
    [
        ({"content": b""}, 400, "the body is empty"),
        ({"files": {"a": ("a.png", b"")}}, 400, "file 'a.png' is empty"),
        ({"files": [("a", image()), ("b", image())]}, 400, "/detect/batch takes several"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"<svg/>"}, 415, "not a JPEG, PNG, WebP or BMP image"),
        ({"content": image(format="GIF")}, 415, "not a JPEG, PNG, WebP or BMP image"),
        ({"content": image(format="TIFF")}, 415, "not a JPEG, PNG, WebP or BMP image"),
        ({"content": bytes(6001)}, 413, "more than the limit of 6,000 bytes"),
        (
            {"content": image(size=(101, 100))},
            422,
            "101 x 100 = 10,100 pixels; the limit is 10,000",
        ),
        ({"content": png_header(60_000, 60_000)}, 422, "limit of 10,000 pixels"),
        ({"content": webp_header(16_384, 16_384)}, 422, "limit of 10,000 pixels"),
        ({"content": png_header(90, 90)}, 422, "90 x 90 that cannot be decoded"),
        ({"content": image(), "params": {"score_threshold": "x"}}, 422, "score_threshold is 'x'"),
        ({"content": image(), "params": {"score_threshold": 0.05}}, 422, "equal to 0.1"),
        ({"content": image(), "params": {"classes": "dok"}}, 422, "'dok' is none; there are dog"),
    ],
)
def test_refused(model, request_, status, what):
    answer = post(make_app(model, max_bytes=6000, max_pixels=10_000), **request_)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert what in answer.json()["detail"]


def test_a_form_without_a_file(model):
    form = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\na.png\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = post(make_app(model), content=form, headers=headers)
    assert answer.status_code == 400
    assert "image=@photo.jpg" in answer.json()["detail"]


def test_uploads_stay_in_memory(model, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", None)  # called beyond a MB otherwise
    data = image(size=(700, 700), format="BMP")
    assert len(data) > 2**20
    assert post(make_app(model), files={"image": data}).status_code == 200


def test_pixels_over_the_limit_are_not_decoded(model, monkeypatch):
    decoded = []
    monkeypatch.setattr(cv2, "imdecode", lambda *_: decoded.append(1))
    answer = post(make_app(model, max_pixels=100), content=image(size=(11, 10)))
    assert answer.status_code == 422
    assert decoded == []


def test_one_of_several_is_named(model):
    files = [("image", ("a.png", image())), ("image", ("b.png", b"text"))]
    answer = post(make_app(model), "/detect/batch", files=files)
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("image 2 ('b.png'): not a JPEG")
    answer = post(make_app(model, max_images=1), "/detect/batch", files=files)
    assert answer.status_code == 400


def test_bytes_are_counted_without_a_length(model):
    sent = []

    async def parts():
        for _ in range(8):
            sent.append(1)
            yield bytes(1000)

    answer = post(make_app(model, max_bytes=5000), content=parts())
    assert answer.status_code == 413
    assert len(sent) == 8  # taken and dropped: the client reads no answer before


def test_a_body_that_stalls(model):
    async def stalling():
        yield b"a"
        await asyncio.Event().wait()

    answer = post(make_app(model, body_timeout=0.05), content=stalling())
    assert answer.status_code == 408
    assert "did not arrive within 0.05 s" in answer.json()["detail"]


def test_a_full_queue_says_when_to_come_back(model):
    app = make_app(model, queue_size=2, max_images=2, max_batch=1)
    blocked = Blocked(app)
    places = app.state.service.places

    async def work(client):
        first = asyncio.create_task(client.post("/detect", content=image()))
        await until(lambda: blocked.sizes == [1])
        files = [("image", image())] * 2
        several = await client.post("/detect/batch", files=files)
        second = asyncio.create_task(client.post("/detect", content=image()))
        await until(lambda: places.used == 2)
        one = await client.post("/detect", content=image())
        health = await client.get("/health")
        blocked.go.set()
        done = await asyncio.gather(first, second)
        return [several, one], [*done, health, await client.post("/detect", content=image())]

    refused, done = ask(app, work)
    for answer in refused:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "of at most 2" in answer.json()["detail"]
    assert [answer.status_code for answer in done] == [200] * 4
    assert places.used == 0


def test_seconds_to_come_back_follow_the_load(model):
    service = make_app(model).state.service
    service.batcher.note(0.5)
    service.places.used = 60
    assert service.retry_after() == 15
    service.batcher.note(1.5)  # a tenth of the mean
    assert service.batcher.seconds_per_item == pytest.approx(0.6)


def test_a_result_that_is_late_and_what_it_leaves(model):
    app = make_app(model, request_timeout=0.1, max_batch=1)
    blocked = Blocked(app)

    async def work(client):
        answers = await asyncio.gather(*(client.post("/detect", content=image()) for _ in "ab"))
        blocked.go.set()
        return [*answers, await client.post("/detect", content=image())]

    late, dropped, after = ask(app, work)
    assert late.status_code == dropped.status_code == 504
    assert "within 0.1 s" in late.json()["detail"]
    assert after.status_code == 200
    assert blocked.sizes == [1, 1]  # the second one was not run any more


def test_an_inference_that_fails_ends_its_own_requests(model):
    app = make_app(model)
    service = app.state.service
    run, failed = service.batcher.run, threading.Event()

    def fail_once(items):
        if failed.is_set():
            return run(items)
        failed.set()
        raise RuntimeError("out of memory")

    service.batcher.run = fail_once

    async def work(client):
        return [await client.post("/detect", content=image()) for _ in "ab"]

    first, second = ask(app, work)
    assert (first.status_code, second.status_code) == (500, 200)
    assert "memory" not in first.text
