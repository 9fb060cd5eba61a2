"""Reads what an earlier evaluation of the same images left, to compare with it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from src.evaluation.results import no_rows
from src.runtime.errors import InputError
from src.runtime.near_path import no_folder
from src.runtime.text import count

DETECTIONS, TRUTH, NUMBERS = "detections.json", "ground_truth.json", "report/metrics.json"
EVALUATIONS = "eval"  # folder of a run with an evaluation of each checkpoint
BEST = "best"  # of them, the one that is meant


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


class Numbers(msgspec.Struct):
    """What is read of NUMBERS."""

    title: str = ""


@dataclass(frozen=True)
class Other:
    """An earlier evaluation: its folder, its title, and detections (R,7) in COCO's array form."""

    folder: Path
    title: str
    rows: np.ndarray


def read_other(path: str, truth: dict) -> Other:
    """The evaluation in a folder, or in that of a run.

    InputError where it is not of the same images, objects and classes.

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
        title = read(folder / NUMBERS, Numbers).title or title
    return Other(folder, title, rows)


def find_evaluation(path: Path) -> Path:
    """The folder with DETECTIONS: this one, or of a run that of its best checkpoint or the only."""
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
    images = [{one.id: one for one in truth.images} for truth in (own, other)]
    differing = [i for i in images[0] | images[1] if images[0].get(i) != images[1].get(i)]
    if differing:
        first = (images[1] | images[0])[differing[0]]
        raise InputError(
            f"against: {path}: its {count(len(images[1]), 'image')} are not the "
            f"{len(images[0])} of this evaluation: {len(differing)} differ, first {first.id} "
            f"({first.file_name}); evaluate both detectors on the same split, by the same protocol"
        )
    names = [sorted(category.name for category in truth.categories) for truth in (own, other)]
    if names[0] != names[1]:
        differing = sorted(set(names[0]) ^ set(names[1])) or names[1]
        raise InputError(
            f"against: {path}: other classes: {', '.join(differing[:3])}; only detectors of the "
            "same classes can be compared"
        )
    lacking, more = (objects(own) - objects(other)), (objects(other) - objects(own))
    if lacking or more:
        image_id = next(iter(lacking or more))[0]
        raise InputError(
            f"against: {path}: its objects are others: {lacking.total()} are not in it and "
            f"{more.total()} only in it, first in image {image_id}; evaluate that detector again"
        )


def objects(truth: Truth) -> Counter:
    """The objects by image, class, box and whether they are a crowd."""
    names = {category.id: category.name for category in truth.categories}
    return Counter(
        (one.image_id, names.get(one.category_id), one.bbox, one.iscrowd)
        for one in truth.annotations
    )


def rows_of(entries: list[Detection], category_of: dict[int, int]) -> np.ndarray:
    """Detections (R,7) in COCO's array form, with this evaluation's ids of classes."""
    rows = [
        (one.image_id, *one.bbox, one.score, category_of.get(one.category_id, -1))
        for one in entries
    ]
    return np.array(rows, float).reshape(-1, 7) if rows else no_rows()
