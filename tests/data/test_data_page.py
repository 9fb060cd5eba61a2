"""The page of a data set: what is in it, and how a browser shows it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from src.data.augmentation.presets import Augmentation
from src.data.dataset import build_annotations
from src.data.images import read_image
from src.data.loader import TrainSamples
from src.data.page.page import MAX_LINES, SplitFindings, class_rows, write_page
from src.data.page.pictures import (
    MAX_BOXES,
    MOST_BYTES,
    Album,
    as_seen,
    encoded,
    in_file,
    matched_shapes,
    reduced,
)
from src.data.problems import Problems
from src.data.signs.sign import Sign
from src.data.summary import build_summary
from src.data.synthetic import write_dataset
from src.data.transforms import Sample
from src.detection.anchors import build_anchors
from src.detection.assign import MaxIoUAssigner
from tests.data.test_validate import run

NAMES = ("椭圆形 <b>猫</b>", "Прямоугольник", "$x$ & 'y'", "{{ 7 * 7 }}")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def own(small, tmp_path):
    """A data set whose classes have names that HTML and fonts could trip over."""
    root = tmp_path / "drawn"
    write_dataset(root, train=30, val=5, seed=5)
    for path in (root / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        for category, name in zip(content["categories"], NAMES):
            category["name"] = name
        path.write_text(json.dumps(content))
    return small.replace(coco_root=str(root), classes=["background", *NAMES])


def findings(cfg, role="training"):
    annotations = build_annotations(cfg, training=role == "training")
    summary = build_summary(cfg, annotations, build_anchors(cfg))
    return SplitFindings(role, Problems(annotations.source), annotations, summary)


def written(cfg, tmp_path, *splits, verdict="fit for training"):
    return write_page(cfg, tmp_path, splits, verdict=verdict).read_text()


def test_names_errors_and_signs_are_escaped(own, tmp_path):
    split = findings(own)
    split.problems.error("image <3>", "is <script>alert(1)</script>")
    split.problems.repair("image 4", "clipped & dropped")
    ids = tuple(split.annotations.image_ids[:9].tolist())
    split.problems.judge([Sign("tiny", "<i>all</i>", "Units", "look", image_ids=ids)], [])
    split.problems.judge([Sign("shares", "within 0", "Shares", "times", certain=True)], [])
    page = written(own, tmp_path, split)
    assert "椭圆形 &lt;b&gt;猫&lt;/b&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "<script>alert" not in page and "<i>all" not in page
    assert "image &lt;3&gt;: is &lt;script&gt;" in page
    assert "2 errors" in page and "1 repair" in page
    assert page.count('class="sign"') == 1 and page.count('class="sign certain"') == 1
    first = page[page.index("&lt;i&gt;all") : page.index("within 0")]
    assert first.count("<svg") == 4  # of nine images


def test_accepted_signs_are_not_shown(own, tmp_path):
    split = findings(own)
    split.problems.judge([Sign("tiny", "all of them", "Units", "look")], ["tiny"])
    assert "all of them" not in written(own, tmp_path, split)


def test_page_is_small_whatever_is_in_it(own, tmp_path):
    splits = [findings(own, role) for role in ("training", "evaluation")]
    for split in splits:
        for number in range(5000):
            split.problems.error(f"image {number}", "x" * 5000)
        ids = tuple(split.annotations.image_ids.tolist())
        signs = [Sign("tiny", f"sign {i}", "c", "a", image_ids=ids) for i in range(60)]
        split.problems.judge(signs, [])
    page = written(own, tmp_path, *splits)
    assert len(page.encode()) < 2_000_000
    assert f"and {5000 - MAX_LINES} more" in page
    assert "sign 59" in page
    assert "More pictures are left out" in page


def test_split_that_cannot_be_read_has_its_error_alone(own, tmp_path):
    problems = Problems(Path("x.json"))
    problems.error("file", "not a json file")
    page = written(own, tmp_path, SplitFindings("training", problems), verdict="not fit")
    assert "file: not a json file" in page
    assert "<svg" not in page and "<table" not in page


def test_unreadable_images_are_left_out_of_the_samples(own, tmp_path):
    root = tmp_path / "own"
    shutil.copytree(own.coco_root, root)
    cfg = own.replace(coco_root=str(root))
    split = findings(cfg)
    for record in split.annotations:
        record.path.write_bytes(b"no")
    assert "As the network sees it" not in written(cfg, tmp_path, split)


def test_samples_are_those_of_the_loader(own):
    """The picture on the right shows the pixels and boxes that training gets."""
    split = findings(own)
    samples = TrainSamples(
        split.annotations,
        image_size=own.image_size,
        augmentation=Augmentation("ssd", hue=0.1, mosaic=0.5),
        assigner=MaxIoUAssigner(build_anchors(own).boxes(own.image_size), positive_iou=0.5),
        seed=7,
    )
    for index in range(6):
        picture = as_seen(Album(), samples, index, NAMES)
        _, expected = samples.sample(0, index, [])
        assert (picture.height, picture.width) == tuple(own.image_size)
        drawn = [s for s in picture.shapes if s.kind == "object"]
        boxes = np.array([[s.x, s.y, s.x + s.width, s.y + s.height] for s in drawn]).reshape(-1, 4)
        np.testing.assert_allclose(boxes, expected.boxes[~expected.crowd], atol=0.11)
        for shape, label in zip(drawn, expected.labels[~expected.crowd]):
            assert shape.text.startswith(f"{NAMES[label]}: ")


def test_matched_missed_and_ignored_objects_by_hand():
    anchors = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], np.float32)
    assigner = MaxIoUAssigner(anchors, positive_iou=0.5)
    boxes = np.array([[0, 0, 10, 10], [52, 52, 56, 56], [0, 0, 90, 90]], np.float32)
    sample = Sample(
        np.zeros((90, 90, 3), np.uint8), boxes, np.array([0, 1, 2]), np.array([0, 0, 1], bool)
    )
    shapes, fitting = matched_shapes(sample, assigner, ("a", "b", "c"))
    assert fitting == 1
    assert [(s.kind, s.colour, s.text) for s in shapes] == [
        ("anchor", "#1e6edc", "anchor, IoU 1.00"),
        ("anchor", "#1e6edc", "anchor, IoU 0.67"),
        ("anchor", "#eb5f00", "anchor, IoU 0.16"),
        ("object", "#1e6edc", "a: 2 anchors, best IoU 1.00"),
        ("object", "#eb5f00", "b: 1 anchors, best IoU 0.16"),
        ("ignored", "#828282", "c (ignored)"),
    ]
    assert (shapes[1].x, shapes[1].y, shapes[1].width, shapes[1].height) == (2, 0, 10, 10)


def test_object_that_gets_no_anchor():
    assigner = MaxIoUAssigner(np.array([[0, 0, 10, 10]], np.float32), positive_iou=0.5)
    boxes = np.array([[0, 0, 10, 10], [40, 40, 44, 44]], np.float32)
    sample = Sample(np.zeros((64, 64, 3), np.uint8), boxes, np.zeros(2, int), np.zeros(2, bool))
    shapes, fitting = matched_shapes(sample, assigner, ("a",))
    assert fitting == 1
    assert shapes[-1].text == "a: no anchor"


def test_pictures_are_small(own):
    noise = np.random.default_rng(0).integers(0, 255, (3000, 9000, 3), np.uint8)
    small = reduced(noise)
    assert small.shape[0] <= 260 and small.shape[0] * small.shape[1] < 150_000
    assert reduced(np.zeros((20, 10, 3), np.uint8)).shape == (20, 10, 3)
    smooth = read_image(next(Path(own.coco_root).glob("train2017/*.jpg")))
    assert len(encoded(reduced(smooth))) <= MOST_BYTES
    album = Album(left=10)
    assert album.picture("a", smooth, []) is None
    assert album.refused == 1


def test_few_boxes_of_many_are_drawn(own):
    record = findings(own).annotations[0]
    many = np.tile(record.boxes[:1], (500, 1))
    object.__setattr__(record, "boxes", many)
    object.__setattr__(record, "labels", np.zeros(500, int))
    object.__setattr__(record, "crowd", np.zeros(500, bool))
    assert len(in_file(Album(), record, NAMES).shapes) == MAX_BOXES


def test_class_table_has_every_class(own):
    summary = findings(own).summary
    rows = class_rows(summary)
    assert {row["name"] for row in rows} == set(NAMES)
    counts = [int(row["cells"][0]) for row in rows]
    assert counts == sorted(summary.object_counts.tolist(), reverse=True)
    assert rows[0]["share"] == 100.0
    empty = build_summary(own, summary.annotations.take(np.array([], int)), build_anchors(own))
    assert class_rows(empty)[0]["cells"] == ["0", "0", "-", "-", "-", "0"]


@pytest.mark.browser
def test_page_in_a_browser(own, tmp_path):
    assert run(own, tmp_path) == 0
    path = tmp_path / "run" / "data" / "report.html"
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert program, f"none of {', '.join(BROWSERS)} is installed; scripts/run_tests.sh does it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        asked, wrong = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(path.as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        assert wrong == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1000
        assert page.locator("#training .pairs svg").count() == 20
        assert page.locator("#evaluation .pairs svg").count() == 8
        shown = page.evaluate(
            "[...document.querySelectorAll('.pairs svg')].map(s => s.clientWidth * s.clientHeight)"
        )
        assert min(shown) > 5000
        first = page.locator("#training tbody tr")
        assert first.count() == 4
        page.click("#training th:nth-child(2)")
        counts = page.locator("#training tbody td:nth-child(2)").all_inner_texts()
        assert [int(text) for text in counts] == sorted(map(int, counts), reverse=True)
        # the other table keeps its own order and mark
        assert page.locator("#evaluation th[data-order]").count() == 0
        for link in page.locator("nav a").all():
            assert page.locator(link.get_attribute("href")).count() == 1
        browser.close()
