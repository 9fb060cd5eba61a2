"""The report as a browser shows it, and the files beside it."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from src.data.dataset import build_annotations
from src.evaluation.coco_metric import Metrics, evaluate, ground_truth
from src.evaluation.comparison import Other, compare
from src.evaluation.matching import match_split
from src.evaluation.report.charts import curve_chart, run_chart
from src.evaluation.report.comparison import changed_images
from src.evaluation.report.diagnoses import confusion_chart
from src.evaluation.report.evaluated import Evaluated
from src.evaluation.report.page import CHARTS, clear_report, read_run, write_report
from tests.datasets import make_split

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def detections(annotations, classes, rng):
    """Ground truth with shifted boxes and some wrong classes."""
    truth = ground_truth(annotations, classes)
    rows = []
    for entry in truth["annotations"]:
        box = np.array(entry["bbox"]) + rng.normal(0, 2, 4)
        box[2:] = box[2:].clip(3)
        category = entry["category_id"]
        if rng.random() < 0.3:
            category = int(rng.choice(annotations.category_ids))
        rows.append([entry["image_id"], *box, rng.random(), category])
    return np.array(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture
def report(small, folder):
    """A report with odd names in it, the metrics it shows, and its configuration."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    log = [{"kind": "step", "step": n, "loss": 9, "mean_loss": 1 / n} for n in (1, 2, 3)]
    log.append({"kind": "step", "step": 4, "loss": 9, "mean_loss": None})  # all were skipped
    log += [{"kind": "evaluation", "step": n, "AP": n / 10, "AP50": None} for n in (2, 3)]
    log[-1]["loss"] = 0.75  # that of an older version has none
    lines = [json.dumps(record) for record in log]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"kind": "st')
    annotations = build_annotations(small, training=False)
    names = ("mean", "_" + "long " * 80, "<b>tri & $x_1$</b>", "cross")
    rows = detections(annotations, small.classes, np.random.default_rng(0))
    metrics = evaluate(annotations, small.classes, rows)
    by_class = {
        name: dict(zip(names, column.values())) for name, column in metrics.by_class.items()
    }
    metrics = type(metrics)(metrics.overall, by_class, metrics.objects, metrics.precision)
    page = write(folder, names, annotations, rows, metrics, run_folder=run, pictures=3)
    return page, metrics, names


def write(folder, names, annotations, rows, metrics, *, run_folder, pictures, comparison=None):
    return write_report(
        folder,
        Evaluated(annotations, names, match_split(annotations, rows), metrics, drawn_score=0.3),
        title="a.ckpt on <split>",
        pictures=pictures,
        run_folder=run_folder,
        comparison=comparison,
    )


@pytest.fixture(scope="module")
def browser():
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert path, f"none of {', '.join(BROWSERS)} is installed; scripts/run_tests.sh does it"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.browser
def test_page_in_a_browser(report, browser, tmp_path):
    page_path, metrics, names = report
    alone = tmp_path / "alone.html"  # without the files beside it
    alone.write_bytes(page_path.read_bytes())
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(alone.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [alone.as_uri()]
    assert page.locator("section").count() == len(CHARTS) + 3
    images = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.clientWidth])")
    assert len(images) == len(CHARTS) + 3 + 4
    assert all(own > 200 and shown > 200 for own, shown in images)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1000
    numbers = page.locator(".numbers b").all_inner_texts()
    assert numbers[0] == f"{metrics.overall['AP']:.3f}"
    assert len(numbers) == 12
    assert "a.ckpt on <split>" in page.inner_text("p >> nth=0")
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    assert wrong == []

    def column(number):
        return page.locator(f"tbody td:nth-child({number})").all_inner_texts()

    shown = [" ".join(name.split()) for name in names]
    assert column(1) == shown
    assert sum(map(int, column(2))) == metrics.objects["all"]
    page.click("th:nth-child(3)")
    assert column(3) == sorted(column(3), reverse=True)
    page.click("th:nth-child(3)")
    assert column(3) == sorted(column(3))
    assert page.evaluate("document.querySelectorAll('th[data-order]').length") == 1
    page.click("th:nth-child(1)")
    assert column(1) == sorted(shown)
    page.close()


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_every_chart_is_a_picture_and_a_table(report):
    page, metrics, names = report
    for name in CHARTS:
        picture = cv2.imread(str(page.parent / f"{name}.png"))
        assert picture.std() > 10
        header, *rows = table(page.parent / f"{name}.csv")
        assert rows
        assert {len(row) for row in rows} == {len(header)}
    classes = {row[0]: float(row[1]) for row in table(page.parent / "classes.csv")[1:]}
    assert classes == pytest.approx(metrics.by_class["AP"])
    confusion = table(page.parent / "confusion.csv")
    assert confusion[0][1:] == [*names, "background"]
    training = table(page.parent / "training.csv")[1:]
    assert training == [
        ["1", "mean loss", "1.0"], ["2", "mean loss", "0.5"], ["3", "mean loss", str(1 / 3)],
        ["3", "evaluation loss", "0.75"],
        ["2", "AP", "0.2"], ["2", "AP50", ""], ["3", "AP", "0.3"], ["3", "AP50", ""],
    ]  # fmt: skip
    sizes = {row[0]: int(row[1]) for row in table(page.parent / "sizes.csv")[1:]}
    assert sizes["all"] == sizes["small"] + sizes["medium"] + sizes["large"]
    assert len(list((page.parent / "pictures").glob("*.jpg"))) == 3 + 4


@pytest.mark.parametrize(
    ("rows", "axes", "says"),
    [
        ([{"kind": "step", "step": 1, "mean_loss": 2.0}], ["mean loss"], "--eval_interval=1"),
        ([{"kind": "evaluation", "step": 1, "AP": 0.5}], ["mean loss", "AP"], "of plain ones"),
    ],
)
def test_a_run_without_evaluations_has_no_chart_of_ap(tmp_path, rows, axes, says):
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    chart = run_chart(*read_run(tmp_path))
    assert [one.get_title() for one in chart.figure.axes] == axes
    assert says in chart.text


def test_a_run_that_logged_nothing_has_no_chart(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "epoch"}\n')
    assert read_run(tmp_path) == ()


def test_mean_precision_over_recall_is_ap50(report):
    page, metrics, _ = report
    header, *rows = table(page.parent / "precision_recall.csv")
    column = [float(row[header.index("mean at IoU 0.50")]) for row in rows]
    assert np.mean(column) == pytest.approx(metrics.overall["AP50"], abs=1e-4)


def test_a_split_without_detections_or_objects_has_a_report_too(small, tmp_path):
    empty = make_split([[], []], classes=4)
    rows = np.zeros((0, 7))
    metrics = evaluate(empty, small.classes, rows)
    names = small.classes[1:]
    page = write(tmp_path, names, empty, rows, metrics, run_folder=tmp_path, pictures=9)
    text = page.read_text()
    assert "0 of 2 images have a false or missed box" in text
    assert "Nothing was detected" in text
    assert not (tmp_path / "errors.png").exists()
    assert (tmp_path / "classes.png").exists()
    assert "The training run" not in text


def test_without_pictures_the_count_of_bad_images_is_the_same(small, tmp_path):
    annotations = build_annotations(small, training=False)
    rows = np.zeros((0, 7))
    metrics = evaluate(annotations, small.classes, rows)
    names = small.classes[1:]
    page = write(tmp_path, names, annotations, rows, metrics, run_folder=tmp_path, pictures=0)
    with_objects = int((annotations.object_counts() > 0).sum())
    assert f"{with_objects} of 10 images have a false or missed box" in page.read_text()


def test_an_older_report_is_cleared_and_nothing_else(report, tmp_path):
    page, _, _ = report
    folder = tmp_path / "report"
    shutil.copytree(page.parent, folder)
    (folder / "mine.png").write_text("keep")
    (folder / "pictures" / "mine.jpg").write_text("keep")
    clear_report(folder)
    left = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert left == {"mine.png", "pictures/mine.jpg", "run/metrics.jsonl"}
    clear_report(tmp_path / "none")


def test_comparison_with_another_evaluation(small, tmp_path):
    annotations = build_annotations(small, training=False)
    truth, names = ground_truth(annotations, small.classes), small.classes[1:]
    rows = detections(annotations, small.classes, np.random.default_rng(0))
    before = rows.copy()
    before[rows[:, 0] == rows[0, 0], 5] = 0.1  # not drawn
    before[-1, 5] = 0.99
    before = before[before[:, 6] != before[-2, 6]]  # a class less
    other = Other(tmp_path / "old", "old.ckpt on <split>", before)
    comparison = compare(annotations, small.classes, truth, rows, other, seed=1, resamples=50)
    metrics = evaluate(annotations, small.classes, rows)
    values = {"run_folder": tmp_path, "pictures": 2, "comparison": comparison}
    page = write(tmp_path, names, annotations, rows, metrics, **values).read_text()
    assert "against old.ckpt on &lt;split&gt;; of 50 resamples of the images 95 % are" in page
    difference = metrics.overall["AP"] - comparison.metrics.overall["AP"]
    assert comparison.difference.measured == pytest.approx(difference)
    assert f"<td>{difference:+.3f}</td>" in page
    assert page.count('class="trio"') > 1 and "<h3>Better</h3>" in page
    header, *classes = table(tmp_path / "against.csv")
    assert header == ["class", "AP", "other AP", "difference"]
    assert {row[0] for row in classes} == set(names)
    clear_report(tmp_path)
    assert not (tmp_path / "against.csv").exists()


def test_images_that_changed_most():
    assert changed_images([0, -3, 5, -1, 1, -7, -2, -2]) == ([5, 1, 6, 7], [2, 4])
    assert changed_images([0, 0]) == ([], [])


def test_eighty_classes_are_named():
    names = [f"class {k}" for k in range(80)]
    matrix = np.eye(81, dtype=int) * 50
    matrix[3, 7], matrix[9, 2], matrix[4, 80] = 8, 9, 70
    chart = confusion_chart(matrix, names, 0.3)
    assert "Most often: 9 x class 9 as class 2, 8 x class 3 as class 7." in chart.text
    (axes,) = chart.figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [*names, "background"]
    height = chart.figure.get_size_inches()[1] * 72 / 81  # points that a name has
    assert height > axes.get_yticklabels()[0].get_fontsize()


def test_of_many_classes_the_best_and_worst_are_drawn():
    names = [f"class {k}" for k in range(30)]
    values = dict(zip(names, np.linspace(0.1, 0.9, 30)))
    values["class 3"] = float("nan")
    precision = np.ones((10, 101, 30, 4)) * np.linspace(0.1, 0.9, 30)[:, None]
    metrics = Metrics({}, {"AP": values, "AP50": values}, {}, precision)
    chart = curve_chart(metrics)
    lines = [line.get_label() for line in chart.figure.axes[1].lines]
    assert lines == [f"class {k}" for k in (0, 1, 2, 4, 5, 25, 26, 27, 28, 29)]
    assert len(chart.header) == 1 + 5 + 30
