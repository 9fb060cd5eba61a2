"""The example service in this process, on a tiny file whose detections follow the pixels."""

import asyncio
import contextlib
import io
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import uvicorn
from detector_service.app import create_app
from detector_service.detector import Detector
from detector_service.settings import Settings
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HEIGHT, WIDTH = 64, 96
NAMES = ["<b>cat</b>", "dog", "hot dog"]
BOXES = [[4, 8, 36, 40], [10, 10, 60, 50], [-5, 0, 90, 70]]  # pixels of the input
THRESHOLD = 0.1
ABOUT = {
    "names": NAMES, "image_size": [HEIGHT, WIDTH], "resize": "stretch", "short_side": 48,
    "long_side": 80, "nms": True, "export_batch": 0, "score_threshold": THRESHOLD,
}  # fmt: skip


def write_model(path: Path, **about) -> Path:
    """A file as export.py writes it: box n has label n, and as score the mean of channel n."""
    about = {key: value for key, value in {**ABOUT, **about}.items() if value is not None}
    batch = about["export_batch"] or "N"
    constants = {
        "boxes0": np.array([BOXES], np.float32),
        "labels0": np.array([[0, 1, 2]], np.int32),
        "none": np.array(-1, np.int32),
        "most": np.array(255, np.float32),
        "least": np.array(THRESHOLD, np.float32),
        "ones": np.array([1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["means", "most"], ["scores"]),
        helper.make_node("Less", ["scores", "least"], ["low"]),
        helper.make_node("Where", ["low", "none", "labels0"], ["labels"]),
        helper.make_node("Shape", ["scores"], ["shape"]),
        helper.make_node("Slice", ["shape", "first", "second"], ["number"]),
        helper.make_node("Concat", ["number", "ones"], ["repeats"], axis=0),
        helper.make_node("Tile", ["boxes0", "repeats"], ["boxes"]),
    ]
    constants |= {"first": np.array([0], np.int64), "second": np.array([1], np.int64)}
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [info("images", TensorProto.UINT8, [batch, HEIGHT, WIDTH, 3])],
        [
            info("boxes", TensorProto.FLOAT, [batch, 3, 4]),
            info("scores", TensorProto.FLOAT, [batch, 3]),
            info("labels", TensorProto.INT32, [batch, 3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    onnx.save(model, path)
    return path


def image(colour=(255, 128, 0), size=(48, 40), format="PNG", **how) -> bytes:
    """A picture of one colour, as the bytes of its file."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format, **how)
    return file.getvalue()


def make_app(path: Path, **settings) -> FastAPI:
    """The application of this file, with some settings changed."""
    return create_app(Detector(str(path), threads=1), Settings(model=str(path), **settings))


def ask(app: FastAPI, work: Callable[[httpx.AsyncClient], Awaitable]):
    """What `work` returns for a client of the application, while it is served."""

    async def run():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://detector") as client,
        ):
            return await work(client)

    return asyncio.run(run())


def post(app: FastAPI, path: str = "/detect", **request) -> httpx.Response:
    """The answer to one request."""
    return ask(app, lambda client: client.post(path, **request))


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others go on until the condition holds."""
    while not condition():
        await asyncio.sleep(0)


class Blocked:
    """Holds an application's inferences until `go` is set, and keeps their sizes."""

    def __init__(self, app: FastAPI):
        self.batcher = app.state.service.batcher
        self.run, self.batcher.run = self.batcher.run, self
        self.sizes, self.go = [], threading.Event()

    def __call__(self, items: list) -> list:
        self.sizes.append(len(items))
        assert self.go.wait(30)
        return self.run(items)


@contextlib.contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The address at which the application listens, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        (socket,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
