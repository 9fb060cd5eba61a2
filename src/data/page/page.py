"""A data set as one page of HTML: what is suspicious, samples as the network sees them, counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.augmentation.presets import Augmentation, build_augmentation
from src.data.decoding import Decoded
from src.data.loader import TrainSamples
from src.data.page.figures import BLUE, GREY, RED, new_figure, png
from src.data.page.pictures import Album, Picture, as_seen, in_file, sample_order
from src.data.problems import Problems
from src.data.summary import Summary
from src.detection.assign import build_assigner
from src.runtime.files import write_atomically
from src.runtime.html import data_url, render
from src.runtime.text import count

TEMPLATE = Path(__file__).with_name("page.html.j2")
PAGE = "report.html"
SAMPLES = {"training": 10, "evaluation": 4}  # images shown of a split
SIGN_PICTURES = 4  # of a sign
MAX_LINES = 100  # errors or repairs listed
MAX_CLASSES = 1000  # in the table, the most frequent
MAX_TEXT = 400  # characters of a line
BINS = 60


@dataclass(frozen=True)
class SplitFindings:
    """What was found in a split; without annotations where it could not be read."""

    role: str  # a key of SAMPLES
    problems: Problems
    annotations: Annotations | None = None
    summary: Summary | None = None  # None where there are no images
    decoded: Decoded | None = None


def write_page(cfg: Config, folder: Path, splits: Sequence[SplitFindings], *, verdict: str) -> Path:
    """Writes PAGE into the folder, with all that is in it; less than 2 MB."""
    album = Album()
    drawn = {split.role: list(sample_pairs(cfg, split, album)) for split in splits}
    warned = {split.role: list(sign_parts(split, album)) for split in splits}
    page = render(
        TEMPLATE,
        verdict=verdict,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        cfg=cfg,
        splits=[
            {**parts(split), "signs": warned[split.role], "samples": drawn[split.role]}
            for split in splits
        ],
        refused=album.refused,
    )
    write_atomically(folder / PAGE, page)
    return folder / PAGE


def parts(split: SplitFindings) -> dict:
    """What the page shows of a split, besides pictures."""
    summary = split.summary
    found = {
        "role": split.role,
        "source": str(split.problems.source),
        "numbers": numbers(split),
        "lists": lists(split.problems),
    }
    if summary is None:
        return {**found, "chart": "", "match_line": "", "classes": [], "left_out": 0}
    return {
        **found,
        "chart": chart(summary),
        "match_line": summary.match_line(),
        "classes": class_rows(summary),
        "left_out": max(len(summary.names) - MAX_CLASSES, 0),
    }


def numbers(split: SplitFindings) -> dict[str, str]:
    """The numbers at the top of a split's section, by name."""
    problems = split.problems
    found = {}
    if split.summary is not None:
        annotations = split.summary.annotations
        found = {
            "images": len(annotations),
            "objects": len(split.summary.sides),
            "classes with objects": int((split.summary.object_counts > 0).sum()),
            "images without objects": int((annotations.object_counts() == 0).sum()),
            "ignored regions": int(annotations.crowd.sum()),
        }
    found |= {"errors": len(problems.errors), "repairs": len(problems.repairs)}
    # those on both splits together are among the signs of one
    found["warnings"] = sum(not sign.certain for sign in problems.signs)
    return {name: f"{value:,}" for name, value in found.items()}


def sign_parts(split: SplitFindings, album: Album) -> Iterator[dict]:
    """The signs of a split, each with pictures of its first images."""
    rows = {}
    if split.summary is not None:
        annotations = split.summary.annotations
        rows = {image_id: row for row, image_id in enumerate(annotations.image_ids.tolist())}
    for sign in split.problems.signs:
        shown = [rows[image_id] for image_id in sign.image_ids if image_id in rows]
        pictures = [
            in_file(album, split.summary.annotations[row], split.summary.names)
            for row in shown[:SIGN_PICTURES]
        ]
        yield {"sign": sign, "pictures": [one for one in pictures if one is not None]}


def lists(problems: Problems) -> list[dict]:
    """Errors and repairs as lines, the first MAX_LINES of each."""
    found = []
    for kind, entries in (("error", problems.errors), ("repair", problems.repairs)):
        if entries:
            lines = [str(entry)[:MAX_TEXT] for entry in entries[:MAX_LINES]]
            more = len(entries) - len(lines)
            found.append({"title": count(len(entries), kind), "lines": lines, "more": more})
    return found


def sample_pairs(cfg: Config, split: SplitFindings, album: Album) -> Iterator[list[Picture]]:
    """Pairs of pictures: an image in its file, and as the network sees it."""
    if split.summary is None:
        return
    samples = make_samples(cfg, split)
    left = SAMPLES[split.role]
    for index in sample_order(split.summary):
        if left == 0:
            return
        record = split.summary.annotations[index]
        pair: list[Picture | None] = [in_file(album, record, split.summary.names)]
        if pair[0] is not None:
            pair.append(as_seen(album, samples, index, split.summary.names))
        if None not in pair:
            left -= 1
            yield pair
        elif album.refused:
            return


def make_samples(cfg: Config, split: SplitFindings) -> TrainSamples:
    """The samples of the training run, or of evaluation, which only fits images to the input."""
    plain = Augmentation("none", keep_aspect=cfg.resize != "stretch")
    return TrainSamples(
        split.summary.annotations,
        image_size=cfg.image_size,
        augmentation=build_augmentation(cfg) if split.role == "training" else plain,
        assigner=build_assigner(cfg),
        seed=cfg.seed,
    )


def class_rows(summary: Summary) -> list[dict]:
    """A row for each class, the most frequent first."""
    most = max(int(summary.object_counts.max(initial=0)), 1)
    rows = []
    for label in np.argsort(-summary.object_counts, kind="stable")[:MAX_CLASSES].tolist():
        own = summary.labels == label
        sides, shown = summary.sides[own], ["-", "-", "-"]
        if len(sides):
            shown = [f"{value:.0f}" for value in np.quantile(sides, (0, 0.5, 1))]
        rows.append(
            {
                "name": summary.names[label],
                "cells": [
                    f"{summary.object_counts[label]:,}",
                    f"{summary.image_counts[label]:,}",
                    *shown,
                    f"{int(summary.unmatched[own].sum()):,}",
                ],
                "share": round(100 * int(summary.object_counts[label]) / most, 1),
            }
        )
    return rows


def chart(summary: Summary) -> str:
    """Objects by side, with the anchors', and by best overlap, as a data URL."""
    figure, (left, right) = new_figure(2.8, 2)
    draw_sizes(left, summary)
    draw_overlaps(right, summary)
    return data_url(png(figure), "png")


def draw_sizes(axes, summary: Summary) -> None:
    """Histogram of the objects' sides, with the anchors' sides as lines."""
    if len(summary.sides):
        low, high = max(summary.sides.min(), 0.5), summary.sides.max()
        edges = np.geomspace(low, max(high, low * 1.01), BINS)
        parts = [summary.sides[~summary.unmatched], summary.sides[summary.unmatched]]
        labels, colours = ["can be matched", "no anchor fits"], [BLUE, RED]
        axes.hist(parts, edges, stacked=True, label=labels, color=colours)
    for number, side in enumerate(summary.anchor_sides):
        label = None if number else "sizes of anchors"
        axes.axvline(side, color=GREY, linestyle=":", linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(title="objects by side", xlabel="square root of the area, pixels of the input")
    axes.legend(fontsize=8)


def draw_overlaps(axes, summary: Summary) -> None:
    """Histogram of the best IoU with an anchor."""
    axes.hist(summary.best_ious, np.linspace(0, 1, 51), color=BLUE)
    if summary.positive_iou is not None:
        axes.axvline(summary.positive_iou, color=RED, label="positive_iou")
        axes.legend(fontsize=8)
    axes.set(title="objects by their best anchor", xlabel="IoU")
