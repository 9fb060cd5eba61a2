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
from src.data.page.album import EVIDENCE, MOST_BYTES, SAMPLE, Album, encoded, reduced
from src.data.page.charts import class_rows, draw_overlaps, draw_sizes
from src.data.page.figures import new_figure
from src.data.page.findings import SplitFindings
from src.data.page.page import BUDGETS, MAX_LINES, write_page
from src.data.page.pictures import MAX_BOXES, in_file
from src.data.page.samples import as_seen, matched_shapes
from src.data.problems import Problems
from src.data.signs.sign import Sign
from src.data.summary import build_summary
from src.data.synthetic import write_dataset
from src.data.transforms import Sample
from src.detection.anchors import AnchorGenerator, build_anchors
from src.detection.assign import ATSSAssigner, MaxIoUAssigner
from tests.data.test_validate import run

NAMES = ("椭圆形 <b>猫</b>", "Прямоугольник", "$x$ & 'y'", "{{ 7 * 7 }}")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# plates of a picture that overlap by more than a rounding
OVERLAPS = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const all = [...svg.querySelectorAll(".plate")].map(plate => plate.getBoundingClientRect());
  const shown = all.filter(box => box.width);
  return shown.filter((a, i) => shown.slice(0, i).some(b =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5));
}).length"""


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


def test_page_is_small_whatever_is_in_it(own, tmp_path, monkeypatch):
    splits = [findings(own, role) for role in ("training", "evaluation")]
    for split in splits:
        for number in range(5000):
            ids = tuple(split.annotations.image_ids.tolist())
            kind = chr(ord("a") + number % 26) * 5000
            split.problems.error(f"image {number}", kind, image_id=ids[number % 5])
        signs = [Sign("tiny", f"sign {i}", "c", "a", image_ids=ids) for i in range(27)]
        split.problems.judge(signs, [])
    page = written(own, tmp_path, *splits)
    assert len(page.encode()) < 4_000_000
    assert f"and {5000 - MAX_LINES} more" in page
    assert "sign 26" in page
    for number in range(20):  # as a line and under a picture, in both splits
        assert page.count(f"image {number}: {chr(97 + number)}") == 4
    monkeypatch.setitem(BUDGETS, EVIDENCE, 20_000)
    assert "More pictures are left out" in written(own, tmp_path, splits[1])


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
        picture = as_seen(Album(SAMPLE, 1_000_000), samples, index, NAMES)
        _, expected = samples.sample(0, index, [])
        assert picture.view == (0, 0, *own.image_size[::-1])
        drawn = [s for s in picture.shapes if s.kind in ("object", "missed")]
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
        ("object", "#1e6edc", "a: 2 anchors, best IoU 1.00"),
        ("missed", "#eb5f00", "b: 1 anchor, best IoU 0.16"),
        ("ignored", "#828282", "c (ignored)"),
        ("anchor", "#1e6edc", "the best anchor, IoU 1.00"),
    ]
    assert shapes[3].box == (0, 0, 10, 10)
    assert [s.name for s in shapes] == ["a", "b", "c", ""]


def test_object_whose_anchor_has_next_to_nothing_of_it():
    anchors = AnchorGenerator(strides=(16,), sides=[[(16, 16)]])
    assigner = ATSSAssigner(anchors, (64, 64), candidates=9)
    # IoU 3 x 2 / 256 = 0.023 and 2 x 2 / 256 = 0.016
    boxes = np.array([[7, 7, 10, 9], [39, 39, 41, 41]], np.float32)
    sample = Sample(np.zeros((64, 64, 3), np.uint8), boxes, np.zeros(2, int), np.zeros(2, bool))
    shapes, fitting = matched_shapes(sample, assigner, ("a",))
    assert fitting == 1
    assert [shape.kind for shape in shapes] == ["object", "missed", "anchor"]
    assert shapes[1].text == "a: 1 anchor, best IoU 0.02"


def test_charts_count_every_object(own):
    summary = findings(own).summary
    summary.sides[:3] = (0.01, 0.1, 4000)
    _, (left, right) = new_figure(2, 2)
    draw_sizes(left, summary)
    draw_overlaps(right, summary)
    for axes in (left, right):
        heights = [bar.get_y() + bar.get_height() for bars in axes.containers for bar in bars]
        # stacked: the second set of bars stands on the first
        assert sum(heights[-len(axes.containers[-1]) :]) == len(summary.sides)


def test_object_that_gets_no_anchor():
    assigner = MaxIoUAssigner(np.array([[0, 0, 10, 10]], np.float32), positive_iou=0.5)
    boxes = np.array([[0, 0, 10, 10], [40, 40, 44, 44]], np.float32)
    sample = Sample(np.zeros((64, 64, 3), np.uint8), boxes, np.zeros(2, int), np.zeros(2, bool))
    shapes, fitting = matched_shapes(sample, assigner, ("a",))
    assert fitting == 1
    assert (shapes[1].text, shapes[1].kind) == ("a: no anchor", "missed")


def test_pictures_are_small(own):
    noise = np.random.default_rng(0).integers(0, 255, (3000, 9000, 3), np.uint8)
    assert reduced(noise, 300).shape == (100, 300, 3)
    assert reduced(np.zeros((20, 10, 3), np.uint8), 300).shape == (20, 10, 3)
    smooth = read_image(next(Path(own.coco_root).glob("train2017/*.jpg")))
    assert len(encoded(reduced(smooth, 472))) <= MOST_BYTES
    album = Album(SAMPLE, 10)
    assert album.picture("a", smooth, []) is None
    assert album.refused == 1
    picture = Album(SAMPLE, 10**6).picture("a", noise, [])
    assert (picture.view, picture.width) == ((0, 0, 9000, 3000), 472)


def test_few_boxes_of_many_are_drawn(own):
    record = findings(own).annotations[0]
    many = np.tile(record.boxes[:1], (500, 1))
    object.__setattr__(record, "boxes", many)
    object.__setattr__(record, "labels", np.zeros(500, int))
    object.__setattr__(record, "crowd", np.zeros(500, bool))
    assert len(in_file(Album(SAMPLE, 10**6), record, NAMES).shapes) == MAX_BOXES


def test_class_table_has_every_class(own):
    summary = findings(own).summary
    rows = class_rows(summary)
    assert {row["name"] for row in rows} == set(NAMES)
    counts = [int(row["cells"][0]) for row in rows]
    assert counts == sorted(summary.object_counts.tolist(), reverse=True)
    assert rows[0]["share"] == 100.0
    empty = build_summary(own, summary.annotations.take(np.array([], int)), build_anchors(own))
    assert class_rows(empty)[0]["cells"] == ["0", "0", "-", "-", "-", "0"]


def test_page_and_text_show_what_repeats_do(own, tmp_path, capsys):
    """Of 28 images with objects 3 have the rare class; sqrt(0.5 * 28 / 3) = 2.16 times 3 is 6."""
    names = own.classes[1:]
    path = Path(own.coco_root) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    images = sorted({entry["image_id"] for entry in content["annotations"]})
    ids = [category["id"] for category in content["categories"]]
    for entry in content["annotations"]:
        rare = entry["image_id"] in images[:3]
        entry.update(category_id=ids[1] if rare else ids[0], iscrowd=0)
    content["images"] = [image for image in content["images"] if image["id"] in images]
    path.write_text(json.dumps(content))
    assert len(images) == 29
    assert run(own, tmp_path, "--repeat_threshold=0.5", "--eval_interval=0") == 0
    out = capsys.readouterr().out
    assert "repeat_threshold 0.5: an epoch takes 32 images from 29, those" in out
    assert f"without and with repeats: {names[1]} 3 -> 7, {names[0]} 26 -> 26\n" in out
    page = (tmp_path / "run" / "data" / "report.html").read_text()
    assert "<td>3</td><td>7</td>" in page and "<td>26</td><td>26</td>" in page
    assert "repeat_threshold 0.5: an epoch takes 32 images" in page


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
        assert page.locator("#training .pair svg").count() == 20
        assert page.locator("#evaluation .pair svg").count() == 8
        area = (
            "[...document.querySelectorAll('.pair svg')].map(s => s.clientWidth * s.clientHeight)"
        )
        assert min(page.evaluate(area)) > 60_000
        page.set_viewport_size({"width": 390, "height": 800})  # two in a row of a phone
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert min(page.evaluate(area)) > 20_000
        assert not page.evaluate(OVERLAPS)
        page.set_viewport_size({"width": 1000, "height": 800})
        assert not page.evaluate(OVERLAPS)
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
