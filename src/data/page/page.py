"""A data set as one page of HTML: what is suspicious, samples as the network sees them, counts."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from src.config.configuration import Config
from src.data.drawing import FOUND, IGNORED, MISSED
from src.data.page.album import EVIDENCE, SAMPLE, Album
from src.data.page.charts import MAX_CLASSES, chart, class_rows
from src.data.page.evidence import Evidence, draw_all, of_problems, of_sign
from src.data.page.findings import SplitFindings
from src.data.page.samples import sample_pairs
from src.data.page.shapes import css
from src.data.problems import Problem
from src.data.sampling import describe_repeats
from src.data.signs.strengths import describe_strengths
from src.data.summary import fitting_iou
from src.runtime.files import write_atomically
from src.runtime.html import render
from src.runtime.text import count

TEMPLATE = Path(__file__).with_name("page.html.j2")
PAGE = "report.html"
BUDGETS = {EVIDENCE: 1_500_000, SAMPLE: 1_000_000}  # bytes of pictures
MAX_LINES = 100  # errors or repairs listed
MAX_TEXT = 400  # characters of a line


def write_page(cfg: Config, folder: Path, splits: Sequence[SplitFindings], *, verdict: str) -> Path:
    """Writes PAGE into the folder, with all that is in it; less than 4 MB."""
    evidence, samples = (Album(kind, size) for kind, size in BUDGETS.items())
    suspicious = [suspicions(split, splits) for split in splits]
    draw_all([part for found in suspicious for part in all_evidence(found)], evidence)
    page = render(
        TEMPLATE,
        verdict=verdict,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        cfg=cfg,
        strengths=describe_strengths(cfg),
        colours={"found": css(FOUND), "missed": css(MISSED), "ignored": css(IGNORED)},
        splits=[
            {
                **parts(cfg, split),
                **found,
                "samples": list(sample_pairs(cfg, split, samples)),
            }
            for split, found in zip(splits, suspicious)
        ],
        refused=evidence.refused + samples.refused,
    )
    write_atomically(folder / PAGE, page)
    return folder / PAGE


def suspicions(split: SplitFindings, splits: Sequence[SplitFindings]) -> dict[str, list[dict]]:
    """Signs of a split, and its errors and repairs as lists; with evidence that is to be drawn."""
    problems = split.problems
    other = next((one for one in splits if one is not split), None)
    names = {sign.name for sign in problems.signs}
    errors = [error for error in problems.errors if error.where not in names]
    return {
        "signs": [
            {"sign": sign, "evidence": of_sign(sign, split, other)} for sign in problems.signs
        ],
        "lists": [
            {"kind": kind, **lines(kind, entries), "evidence": of_problems(pictured, split)}
            for kind, entries, pictured in (
                ("error", problems.errors, errors),
                ("repair", problems.repairs, problems.repairs),
            )
            if entries
        ],
    }


def all_evidence(found: dict[str, list[dict]]) -> list[Evidence]:
    """What is to be drawn of a split."""
    signs = [part["evidence"] for part in found["signs"]]
    return [*signs, *(part for one in found["lists"] for part in one["evidence"])]


def lines(kind: str, entries: Sequence[Problem]) -> dict:
    """Errors or repairs as lines, the first MAX_LINES."""
    shown = [str(entry)[:MAX_TEXT] for entry in entries[:MAX_LINES]]
    more = len(entries) - len(shown)
    return {"title": count(len(entries), kind), "lines": shown, "more": more}


def parts(cfg: Config, split: SplitFindings) -> dict:
    """What the page shows of a split, besides pictures and what is suspicious."""
    summary = split.summary
    found = {
        "role": split.role,
        "source": str(split.problems.source),
        "numbers": numbers(split),
        "repeats": "",
        "least": 0.0 if summary is None else fitting_iou(summary.positive_iou),
    }
    if summary is None:
        return {**found, "chart": "", "match_line": "", "classes": [], "left_out": 0}
    threshold = cfg.repeat_threshold if split.role == "training" else 0.0
    if threshold:
        line = describe_repeats(summary.annotations, threshold)
        found["repeats"] = f"{line}; the column 'repeated' has the images of an epoch"
    return {
        **found,
        "chart": chart(summary),
        "match_line": summary.match_line(),
        "classes": class_rows(summary, threshold),
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
    found["warnings"] = len(problems.warnings)
    return {name: f"{value:,}" for name, value in found.items()}
