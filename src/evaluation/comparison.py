"""Compares an evaluation with an earlier one of the same images."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from src.data.annotations import Annotations
from src.evaluation.coco_metric import Metrics, evaluate
from src.evaluation.resampling import (
    INTERVAL,
    RESAMPLES,
    Difference,
    match_classes,
    resampled_difference,
)
from src.runtime.errors import InputError
from src.runtime.near_path import no_folder

DETECTIONS, TRUTH, NUMBERS = "detections.json", "ground_truth.json", "report/metrics.json"
EVALUATIONS = "eval"  # folder of a run with an evaluation of each checkpoint
BEST = "best"  # of them, the one that is meant
SHARE = INTERVAL[1] - INTERVAL[0]  # percent of the resamples that are in the interval


class Detection(msgspec.Struct, gc=False):
    """An entry of DETECTIONS."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


class Named(msgspec.Struct, gc=False):
    """An image or a category of TRUTH."""

    id: int
    name: str = ""
    file_name: str = ""
    width: int = 0
    height: int = 0


class Annotated(msgspec.Struct, gc=False):
    """An object of TRUTH."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class Truth(msgspec.Struct):
    """TRUTH."""

    images: list[Named]
    annotations: list[Annotated]
    categories: list[Named]


@dataclass(frozen=True)
class Other:
    """An earlier evaluation: its folder, its title, and detections (R,7) in COCO's array form."""

    folder: Path
    title: str
    rows: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Another detector's evaluation, its metrics, and this one's AP less its AP."""

    other: Other
    metrics: Metrics
    difference: Difference

    def text(self) -> str:
        """The difference of AP, how certain it is, and what is compared with."""
        one = self.difference
        if np.isnan(one.low):
            return f"no AP to compare with {self.other.title}"
        clear = "higher" if one.low > 0 else "lower" if one.high < 0 else ""
        return (
            f"AP {one.measured:+.3f} against {self.other.title}; of {one.resamples:,} resamples of "
            f"the images {SHARE:g} % are between {one.low:+.3f} and {one.high:+.3f}: "
            + (f"clearly {clear}" if clear else "no clear difference")
        )

    def to_dict(self) -> dict:
        """What metrics.json holds of it."""
        one = self.difference
        return {
            "folder": str(self.other.folder),
            "title": self.other.title,
            "overall": self.metrics.overall,
            "by_class": self.metrics.by_class,
            "difference": {
                "AP": one.measured,
                "interval": [one.low, one.high],
                "percent": SHARE,
                "share_higher": one.higher,
                "resamples": one.resamples,
                "seed": one.seed,
            },
        }


def compare(
    annotations: Annotations,
    classes: tuple[str, ...],
    truth: dict,
    rows: np.ndarray,
    other: Other,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compares detections (R,7) with another evaluation of the images of `annotations`.

    Args:
        truth: the ground truth as the content of a COCO JSON.
    """
    matches = [match_classes(annotations, truth, each) for each in (rows, other.rows)]
    difference = resampled_difference(*matches, seed=seed, resamples=resamples)
    return Comparison(other, evaluate(annotations, classes, other.rows), difference)


def read_other(path: str, truth: dict) -> Other:
    """The evaluation in a folder, or in the folder of a run.

    InputError unless it has the same images, objects and classes.

    Args:
        truth: the ground truth of this evaluation as the content of a COCO JSON.
    """
    folder = find_evaluation(Path(path))
    other = read(folder / TRUTH, Truth)
    own = msgspec.convert(truth, Truth)
    check_same(folder / TRUTH, own, other)
    ids = {category.name: category.id for category in own.categories}
    category_of = {category.id: ids[category.name] for category in other.categories}
    rows = rows_of(read(folder / DETECTIONS, list[Detection]), category_of)
    known = {image.id for image in own.images}
    if strangers := set(rows[:, 0].astype(int).tolist()) - known:
        raise InputError(
            f"{folder / DETECTIONS}: detections in image {min(strangers)}, which is not in {TRUTH} "
            "beside it; evaluate that detector again"
        )
    title = str(folder)
    if (folder / NUMBERS).is_file():
        title = read(folder / NUMBERS, dict).get("title") or title
    return Other(folder, title, rows)


def find_evaluation(path: Path) -> Path:
    """The folder with DETECTIONS: the path, or in a run the evaluation of BEST or the only one."""
    if not path.is_dir():
        raise InputError(f"against: {no_folder(path)}; give that of a run or of an evaluation")
    if (path / DETECTIONS).is_file():
        return path
    found = sorted(one.parent for one in path.glob(f"{EVALUATIONS}/*/{DETECTIONS}"))
    best = [folder for folder in found if folder.name == BEST]
    if len(best or found) == 1:
        return (best or found)[0]
    if found:
        names = ", ".join(str(folder) for folder in found)
        raise InputError(f"against: {path} has several evaluations; give one of {names}")
    raise InputError(
        f"against: {path}: no {DETECTIONS} in it or in {EVALUATIONS}/{BEST}; evaluate that "
        "detector first, with eval.py"
    )


def read(path: Path, kind: Any) -> Any:
    """The content of a JSON file; InputError where it is missing or another."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        reason = error.strerror or str(error)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    raise InputError(f"against: {path}: {reason}; evaluate that detector again, with eval.py")


def check_same(path: Path, own: Truth, other: Truth) -> None:
    """InputError where images, classes or objects differ."""
    here, there = contents(own), contents(other)
    for what in here:
        lacking, more = here[what] - there[what], there[what] - here[what]
        if lacking or more:
            first = next(iter(lacking or more))
            raise InputError(
                f"against: {path}: its {what} are not those of this evaluation: it lacks "
                f"{lacking.total()} and has {more.total()} others, first {first}; evaluate both "
                "detectors on the same split, by the same protocol"
            )


def contents(truth: Truth) -> dict[str, Counter]:
    """Images, classes and objects as values that can be compared."""
    names = {category.id: category.name for category in truth.categories}
    return {
        "images": Counter((i.id, i.file_name, i.width, i.height) for i in truth.images),
        "classes": Counter(names.values()),
        "objects": Counter(
            (one.image_id, names.get(one.category_id), one.bbox, one.iscrowd)
            for one in truth.annotations
        ),
    }


def rows_of(entries: list[Detection], category_of: dict[int, int]) -> np.ndarray:
    """Detections (R,7) in COCO's array form, with this evaluation's ids of classes."""
    rows = [
        (one.image_id, *one.bbox, one.score, category_of.get(one.category_id, -1))
        for one in entries
    ]
    return np.array(rows, float).reshape(-1, 7)
