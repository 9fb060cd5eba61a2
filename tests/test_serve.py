"""The example service: its answers, its batches, its metrics, and what it may import."""

import ast
import asyncio
import re
import runpy
import sys

import numpy as np
import pytest
from detector_service.batching import Batcher
from detector_service.detector import Detector, ModelError
from detector_service.settings import read_settings
from PIL import Image

from tests.conftest import REPOSITORY
from tests.serving import NAMES, Blocked, ask, image, make_app, post, until, write_model

SERVE = REPOSITORY / "examples" / "serve"
# what the packages of requirements.txt are imported as, and what they bring
PACKAGES = {
    "cv2", "detector_service", "fastapi", "numpy", "onnxruntime", "PIL", "prometheus_client",
    "pydantic", "starlette", "uvicorn",
}  # fmt: skip


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "detector.onnx")


def test_one_image_as_a_body_and_in_a_form(model):
    data = image((255, 128, 0), size=(48, 32))  # half of the input in both directions
    expected = [
        {"box": [2, 4, 18, 20], "score": 1, "label": 0, "name": "<b>cat</b>"},
        {"box": [5, 5, 30, 25], "score": pytest.approx(128 / 255), "label": 1, "name": "dog"},
    ]  # the third has a score below the file's threshold
    for request in ({"content": data}, {"files": {"any": ("a.png", data)}}):
        answer = post(make_app(model), **request)
        assert answer.status_code == 200
        found = answer.json()
        assert (found["width"], found["height"]) == (48, 32)
        assert found["file"] == ("a.png" if "files" in request else "")
        assert found["detections"] == expected
        assert found["batch_size"] == 1
        times = found["timings"]
        assert times["total"] >= times["read"] + times["decode"] + times["inference"] > 0
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_boxes_end_at_the_image(model):
    found = post(make_app(model), content=image((0, 0, 255), size=(96, 64))).json()
    assert [one["box"] for one in found["detections"]] == [[0, 0, 90, 64]]


def test_scores_and_classes_are_chosen(model):
    def names(**parameters):
        answer = post(make_app(model), content=image((255, 128, 77)), params=parameters)
        return [one["name"] for one in answer.json()["detections"]]

    assert names() == NAMES
    assert names(score_threshold=0.4) == NAMES[:2]
    assert names(classes="dog") == ["dog"]
    assert names(classes=["hot dog", "<b>cat</b>"]) == ["<b>cat</b>", "hot dog"]
    assert names(classes=["hot dog", "dog"], score_threshold=0.4) == ["dog"]


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "short_side"])
def test_detections_are_those_of_the_example(tmp_path, monkeypatch, capsys, resize):
    path = write_model(tmp_path / "detector.onnx", resize=resize)
    for name, size in (("wide.png", (131, 40)), ("tall.jpg", (33, 90))):
        noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
        file = tmp_path / name
        Image.fromarray(noise).save(file)
        monkeypatch.setattr(sys, "argv", ["detect_onnx.py", str(path), str(file)])
        runpy.run_path(str(REPOSITORY / "examples" / "detect_onnx.py"))
        lines = capsys.readouterr().out.splitlines()
        found = post(make_app(path), content=file.read_bytes()).json()["detections"]
        assert len(found) == len(lines)
        for one, line in zip(found, lines):
            name, score, box = re.fullmatch(r"(.+) ([\d.]+) (\[.+\])", line).groups()
            assert (name, score) == (f"{file} {one['name']}", f"{one['score']:.3f}")
            np.testing.assert_allclose(one["box"], ast.literal_eval(box), atol=0.06)  # 0.1, 0.01
        assert len(lines) >= 2  # a box may lie beside the picture


def test_exif_is_ignored(model):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    found = post(make_app(model), content=image(size=(48, 30), format="JPEG", exif=exif)).json()
    assert (found["width"], found["height"]) == (48, 30)


def test_requests_that_wait_together_run_together(model):
    app = make_app(model, max_batch=4, max_wait_ms=60_000)
    colours = [(51 * n, 255, 0) for n in range(1, 5)]

    async def work(client):
        return await asyncio.gather(
            *(client.post("/detect", content=image(colour)) for colour in colours)
        )

    for number, answer in enumerate(ask(app, work), 1):
        found = answer.json()
        assert found["batch_size"] == 4
        assert found["detections"][0]["score"] == pytest.approx(number / 5)


def test_what_arrives_during_a_batch_is_the_next(model):
    app = make_app(model, max_batch=3, max_wait_ms=0)
    blocked = Blocked(app)

    async def work(client):
        first = asyncio.create_task(client.post("/detect", content=image()))
        await until(lambda: blocked.sizes == [1])
        others = [asyncio.create_task(client.post("/detect", content=image())) for _ in range(4)]
        await until(lambda: len(blocked.batcher.queue) == 4)
        text = (await client.get("/metrics")).text
        blocked.go.set()
        await asyncio.gather(first, *others)
        return text, (await client.get("/metrics")).text

    during, after = ask(app, work)
    assert blocked.sizes == [1, 3, 1]
    assert "detector_queue_images 4.0" in during
    assert "detector_inside_images 5.0" in during
    assert "detector_queue_images 0.0" in after
    assert "detector_inside_images 0.0" in after
    assert 'detector_batch_size_bucket{le="1.0"} 2.0' in after
    assert "detector_batch_size_sum 5.0" in after
    assert "detector_inference_seconds_count 3.0" in after


@pytest.mark.parametrize("fixed", [1, 2])
def test_a_file_of_a_fixed_batch(tmp_path, fixed):
    path = write_model(tmp_path / "detector.onnx", export_batch=fixed)
    app = make_app(path, max_batch=8, max_wait_ms=0)
    blocked = Blocked(app)
    blocked.go.set()
    files = [("image", (f"{n}.png", image((51 * n, 0, 0)))) for n in (1, 2, 3)]
    found = post(app, "/detect/batch", files=files).json()["images"]
    assert [one["file"] for one in found] == ["1.png", "2.png", "3.png"]
    assert [one["detections"][0]["score"] for one in found] == pytest.approx([0.2, 0.4, 0.6])
    assert blocked.sizes == ([1, 1, 1] if fixed == 1 else [2, 1])
    model = ask(app, lambda client: client.get("/model")).json()
    assert (model["fixed_batch"], model["max_batch"]) == (fixed, fixed)


def test_closing_finishes_what_waits():
    async def work():
        batcher = Batcher(lambda items: [-item for item in items], max_batch=9, max_wait=60)
        batcher.start()
        assert batcher.is_ready()
        waiting = asyncio.create_task(batcher.submit([1, 2]))
        await until(lambda: len(batcher.queue) == 2)
        await batcher.close()
        assert not batcher.is_ready()
        return await waiting

    outcomes = asyncio.run(work())
    assert [outcome.result for outcome in outcomes] == [-1, -2]
    assert [outcome.batch_size for outcome in outcomes] == [2, 2]


def test_metrics_and_health(model):
    async def work(client):
        for path in ("/health", "/health/live", "/health/ready"):
            assert (await client.get(path)).status_code == 200
        for content in (image(), image(), b"no image"):
            await client.post("/detect", content=content)
        await client.get("/there/is/none")
        return (await client.get("/metrics")).text

    app = make_app(model)
    text = ask(app, work)
    assert 'detector_requests_total{path="/detect",status="200"} 2.0' in text
    assert 'detector_requests_total{path="/detect",status="415"} 1.0' in text
    assert 'detector_requests_total{path="other",status="404"} 1.0' in text
    assert 'detector_request_seconds_count{path="/detect"} 3.0' in text
    assert float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.M)[1]) > 1e6

    async def closed(client):
        await app.state.service.batcher.close()
        return [(await client.get(f"/health/{name}")).status_code for name in ("live", "ready")]

    app = make_app(model)
    assert ask(app, closed) == [200, 503]


def test_the_schema_names_every_path(model):
    schema = ask(make_app(model), lambda client: client.get("/openapi.json")).json()
    paths = {"/detect", "/detect/batch", "/model", "/health", "/metrics"}
    assert paths < set(schema["paths"])
    content = schema["paths"]["/detect"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/*", "application/octet-stream"}


@pytest.mark.parametrize(
    ("about", "what"),
    [
        ({"nms": False}, "--nms=True"),
        ({"image_size": [64, 95]}, "does not run"),
        ({"resize": None}, "its metadata lack resize"),
        (None, "not an ONNX file"),
    ],
)
def test_files_that_cannot_be_served(tmp_path, about, what):
    path = tmp_path / "detector.onnx"
    if about is None:
        path.write_bytes(b"something else")
    else:
        write_model(path, **about)
    with pytest.raises(ModelError, match=re.escape(what)):
        Detector(str(path), 1).warm_up(2)


def test_settings_by_flag_variable_and_default(capsys):
    variables = {"DETECTOR_MODEL": "a.onnx", "DETECTOR_PORT": "81", "DETECTOR_MAX_BATCH": "3"}
    settings = read_settings(["--port=82", "--max_wait_ms=1.5"], variables)
    assert (settings.model, settings.port, settings.max_batch) == ("a.onnx", 82, 3)
    assert (settings.max_wait_ms, settings.queue_size) == (1.5, 64)
    assert read_settings(["b.onnx"], variables).model == "b.onnx"
    wrong = {
        "--max_batch=0": "--max_batch or DETECTOR_MAX_BATCH is 0; expected 1 or more",
        "--port=99999": "--port or DETECTOR_PORT is 99999; expected 0 to 65535",
        "--port=x": "--port or DETECTOR_PORT is 'x'; expected a whole number",
        "--max_wait_ms=nan": "expected 0 or more",
        "--log_level=loud": "expected one of critical, error, warning, info, debug",
        "--queue_size=3": "--max_images is 16, --queue_size 3",
        "--model=": "no file is named",
    }
    for flag, what in wrong.items():
        with pytest.raises(SystemExit) as ended:
            read_settings([flag], variables)
        assert ended.value.code == 2
        assert what in capsys.readouterr().err


def test_versions_are_those_that_are_tested():
    own, tested = ((SERVE / "requirements.txt"), REPOSITORY / "requirements-dev.txt")
    pins = re.findall(r"^[\w-]+==[\w.]+", own.read_text(), re.M)
    texts = tested.read_text() + (REPOSITORY / "requirements.txt").read_text()
    assert len(pins) == 5
    assert [pin for pin in pins if f"{pin}\n" not in texts and f"{pin} " not in texts] == []


def test_only_its_own_packages_are_imported():
    for path in [*SERVE.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in PACKAGES or top in sys.stdlib_module_names, f"{path}: {name}"
