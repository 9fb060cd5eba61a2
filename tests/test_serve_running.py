"""The example service over real connections: its page in a browser, its load test, its end."""

import re
import shutil
import signal
import subprocess
import sys
import threading
from urllib.request import urlopen

import load_test
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.conftest import REPOSITORY
from tests.serving import NAMES, image, listening, make_app, write_model

# of the canvas at (374, 250) and (374, 380), by one reading
PIXELS = """(() => {
  const { data } = get("picture").getContext("2d").getImageData(374, 250, 1, 131);
  return [[...data.slice(0, 4)], [...data.slice(-4)]];
})()"""
DROPPED = """bytes => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
  return given;
}"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "detector.onnx")


@pytest.mark.browser
def test_page_in_a_browser(model, tmp_path):
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert program, f"none of {', '.join(BROWSERS)} is installed; scripts/run_tests.sh does it"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, which the service ignores
    for suffix in ("jpeg", "png"):
        data = image((255, 128, 51), (300, 200), suffix, exif=exif)
        (tmp_path / f"turned.{suffix}").write_bytes(data)
    (tmp_path / "text.png").write_bytes(b"text")
    asked, wrong = [], []
    with listening(make_app(model)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.get_by_text("input 96 x 64: <b>cat</b>, dog, hot dog").wait_for()

        for name in ("turned.jpeg", "turned.png"):
            page.set_input_files("#file", tmp_path / name)
            page.get_by_text(f"{name}: 300 x 200 pixels").wait_for(timeout=10_000)
        names = page.locator("#detections td:first-child")
        assert names.all_inner_texts() == NAMES[:2]  # 0.3 and more
        cells = page.locator("#detections tr:nth-child(2) td").all_inner_texts()
        assert cells == ["dog", "0.502", "31.3", "31.3", "187.5", "156.3"]

        size = page.evaluate("[get('picture').width, get('picture').height]")
        assert size == [600, 400]
        edge, inside = page.evaluate(PIXELS)  # x 374 is the dog's right side, twice 187.5
        assert inside[0] > 250 and inside[2] == 51
        assert edge[:3] == [8, 155, 51]  # hsl(137.5 90% 32%)

        page.locator("#threshold").fill("0.15")
        assert names.all_inner_texts() == NAMES
        both = page.locator("canvas").screenshot()
        page.get_by_label("dog", exact=True).uncheck()
        assert names.all_inner_texts() == [NAMES[0], NAMES[2]]
        assert page.locator("canvas").screenshot() != both
        assert page.locator("b").count() == 0  # a name is text
        assert page.evaluate("document.documentElement.scrollWidth") <= 1000
        assert wrong == []

        given = page.evaluate_handle(DROPPED, list(image((0, 0, 255), (30, 20))))
        page.dispatch_event("h1", "drop", {"dataTransfer": given})
        page.get_by_text("dropped.png: 30 x 20 pixels").wait_for()
        assert names.all_inner_texts() == NAMES[2:]

        page.set_input_files("#file", tmp_path / "text.png")
        page.get_by_text("415: not a JPEG, PNG, WebP or BMP image").wait_for()
        browser.close()
    assert asked and all(url.startswith((address, "data:")) for url in asked)


def test_load_of_both_loops(model, capsys):
    with listening(make_app(model)) as address:
        before = load_test.Client(address).metrics()
        closed = load_test.closed_loop(address, [image()], clients=2, seconds=0.3)
        opened = load_test.open_loop(address, [image(), b"text"], rate=100, seconds=0.3)
        seen = [before, load_test.Client(address).metrics()]
    number = len(closed.latencies)
    assert closed.outcomes == {"200": number}
    assert number >= 2
    arrivals = len(list(load_test.arrivals(100, 0.3)))
    assert sum(opened.outcomes.values()) == arrivals
    assert set(opened.outcomes) == {"200", "415"}
    assert seen[1][load_test.IMAGES] == number + opened.outcomes["200"]
    assert load_test.report(closed, 0.3, seen)
    load_test.read_numbers(address, seen)  # of the service that has gone
    assert len(seen) == 2
    assert not load_test.report(opened, 0.3, seen)
    out = capsys.readouterr().out
    assert f"requests    {number}, errors 0" in out
    assert f"errors {opened.outcomes['415']} {{'415'" in out
    assert re.search(r"memory +start \d+, middle \d+, end \d+ MiB", out)


def test_latency_counts_from_the_intended_moment(monkeypatch):
    sent = threading.Event()

    class Slow:
        def __init__(self, url):
            pass

        def send(self, body):
            sent.wait(0.05)
            return "200"

    monkeypatch.setattr(load_test, "Client", Slow)
    monkeypatch.setattr(load_test, "CONNECTIONS", 1)
    record = load_test.open_loop("", [b""], rate=200, seconds=0.1)
    # one connection at 50 ms each: the last of n was to be sent within 0.1 s
    assert max(record.latencies) > 0.05 * len(record.latencies) - 0.1
    assert record.latest > 0


def test_arrivals_and_quantiles():
    moments = list(load_test.arrivals(50, 200))
    assert len(moments) == pytest.approx(10_000, rel=0.03)  # three deviations
    assert moments == sorted(moments)
    gaps = [after - before for before, after in zip(moments, moments[1:])]
    # of exponential gaps a share of 1 - 1/e is below their mean
    assert sum(gap < 0.02 for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.015)
    values = list(range(1, 101))
    assert [load_test.quantile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert load_test.quantile([3.0], 0.5) == 3


def test_sigterm_finishes_what_is_inside(model):
    command = [sys.executable, "-m", "detector_service", model, "--port=0", "--max_wait_ms=1000"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY / "examples" / "serve", stderr=subprocess.PIPE, text=True
    )
    lines, address = [], None
    while address is None:
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
        address = re.search(r"http://127\.0\.0\.1:\d+", lines[-1])
    assert "3 classes, input 96 x 64, batches of at most 8 images" in lines[0]
    answers = []
    client = load_test.Client(address[0])
    sender = threading.Thread(target=lambda: answers.append(client.send(image())))
    sender.start()
    watcher = load_test.Client(address[0])
    while watcher.metrics()["detector_queue_images"] < 1:
        assert sender.is_alive()
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=30)
    sender.join(30)
    assert answers == ["200"]
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    with pytest.raises(OSError):
        urlopen(address[0])
