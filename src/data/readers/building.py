"""Builds annotations from what a reader finds, with the repairs that every format gets."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.config.class_list import is_background
from src.data.annotations import NAME_CODEC, Annotations
from src.data.problems import MalformedRecord, Problems, first_lines
from src.data.signs.boxes import turned_images
from src.data.signs.given_boxes import Form, GivenBoxes
from src.data.signs.stages import signs_as_read
from src.runtime.errors import InputError
from src.runtime.text import count, spelling, suggestion

MIN_SIDE = 0.01  # pixels; a thinner box has no size left in float32
MAX_SIDE = 2**31  # pixels of an image; sizes are held in 32 bits


@dataclass(frozen=True)
class RawBoxes:
    """Boxes of a split as a reader found them, not yet clipped or sorted."""

    owners: np.ndarray  # (B,) indices of their images
    boxes: np.ndarray  # (B,4) float64 x1, y1, x2, y2
    labels: np.ndarray  # (B,)
    crowd: np.ndarray  # (B,) bool
    where: Callable[[int], str]  # names a box in a report
    form: Form = Form()  # how the file writes a box


def make_annotations(
    raw: RawBoxes,
    problems: Problems,
    *,
    file_names: Sequence[str],
    image_ids: Sequence[int],
    sizes: np.ndarray,
    **attributes,
) -> Annotations:
    """Clips boxes to their images, drops those without area and repeated ones, sorts by image.

    `problems` gets the repairs, and boxes that are not finite as errors. `attributes` are the
    others of Annotations.
    """
    sizes = np.asarray(sizes, np.int32).reshape(-1, 2)
    boxes, keep = repair_boxes(raw, sizes, image_ids, problems)
    order = np.flatnonzero(keep)
    order = order[np.argsort(raw.owners[order], kind="stable")]
    counts = np.bincount(raw.owners[order], minlength=len(sizes))
    annotations = Annotations(
        file_names=np.array([name.encode(*NAME_CODEC) for name in file_names], np.bytes_),
        image_ids=np.array(image_ids, np.int64),
        sizes=sizes,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=boxes[order].astype(np.float32),
        labels=raw.labels[order].astype(np.int32),
        crowd=raw.crowd[order].astype(bool),
        repairs=dict(Counter(problem.what for problem in problems.repairs)),
        repair_lines=tuple(first_lines(problems.repairs)),
        turned=turned_images(raw.boxes, raw.owners, sizes, image_ids),
        **attributes,
    )
    given = GivenBoxes(
        corners=raw.boxes,
        limits=sizes[raw.owners],
        image_ids=annotations.image_ids[raw.owners],
        where=raw.where,
        form=raw.form,
    )
    return replace(annotations, signs=(*annotations.signs, *signs_as_read(given, annotations)))


def repair_boxes(
    raw: RawBoxes, sizes: np.ndarray, image_ids: Sequence[int], problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (B,4) clipped to their I images of sizes (I,2), and which (B,) of them to keep."""
    finite = np.isfinite(raw.boxes).all(axis=1)
    for index in np.flatnonzero(~finite):
        text = f"box {raw.boxes[index].tolist()} is not finite"
        problems.error(raw.where(index), text, image_id=image_ids[raw.owners[index]])
    limits = np.tile(sizes[raw.owners], 2).astype(np.float64)
    clipped = np.clip(np.nan_to_num(raw.boxes), 0, limits)
    visible = ((clipped[:, 2:] - clipped[:, :2]) >= MIN_SIDE).all(axis=1)
    keep = finite & visible
    repeated = keep & repeats(np.column_stack([raw.owners, raw.labels, raw.crowd, clipped]), keep)
    changed = keep & ~repeated & (clipped != raw.boxes).any(axis=1)
    for what, found in (
        ("box without area inside the image dropped", finite & ~visible),
        ("box that repeats another dropped", repeated),
        ("box clipped to the image", changed),
    ):
        for index in np.flatnonzero(found):
            box = tuple(raw.boxes[index].tolist())
            image_id = image_ids[raw.owners[index]]
            problems.repair(raw.where(index), what, image_id=image_id, box=box)
    return clipped, keep & ~repeated


def repeats(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which rows (B,F) equal an earlier one; only the rows `among` (B,) are compared."""
    indices = np.flatnonzero(among)
    indices = indices[np.lexsort(rows[indices].T)]  # stable: equal rows stay in their order
    same = (rows[indices[1:]] == rows[indices[:-1]]).all(axis=1)
    found = np.zeros(len(rows), bool)
    found[indices[1:][same]] = True
    return found


@dataclass
class Builder:
    """Collects a split image by image, for formats that are read line by line.

    `problems` gets errors and repairs, its source is the annotation file. For `classes` and
    `drop_unlisted` see `Reader.read`.
    """

    problems: Problems
    classes: tuple[str, ...]
    drop_unlisted: bool = False
    form: Form = Form()  # how the format writes a box
    # where the boxes are of each class that is not in `classes`, with the image's id
    unlisted: defaultdict[str, list[tuple[str, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    line_of: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    rows: list[tuple] = field(default_factory=list)  # image, x1, y1, x2, y2, label, crowd
    places: list[str] = field(default_factory=list)

    def note_line(self, name: str, number: int, advice: str = "; leave one of them out") -> None:
        """InputError where an earlier line has the image too."""
        if name in self.line_of:
            found = f"{name} is on line {self.line_of[name]} already"
            raise MalformedRecord(found, advice)
        self.line_of[name] = number

    def add_image(self, name: str, image_id: int, size: tuple[int, int]) -> None:
        """Adds an image of (width, height) pixels; its path is relative to the image folder.

        InputError if the name or the size cannot be one.
        """
        if not (isinstance(name, str) and name):
            raise InputError(f"file name {name!r}; expected text")
        if not (len(size) == 2 and all(type(s) is int and 0 < s < MAX_SIDE for s in size)):
            raise InputError(f"image size {size}; expected whole width and height of at least 1")
        self.names.append(name)
        self.ids.append(image_id)
        self.sizes.append(size)

    def add_box(self, where: str, box: Sequence[float], label: int, crowd: bool = False) -> None:
        """Adds a box (x1, y1, x2, y2) to the image that was added last; `where` names it.

        InputError if it does not have four numbers.
        """
        if len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
            raise InputError(f"box {list(box)}; expected four numbers")
        self.rows.append((len(self.names) - 1, *box, label, crowd))
        self.places.append(where)

    def add_named(self, where: str, box: Sequence[float], name: str, crowd: bool = False) -> None:
        """`add_box` by the name of the class; counted only where `classes` does not have it."""
        if not isinstance(name, str):
            raise InputError(f"class {name!r}; expected its name")
        if name in self.classes[1:]:
            self.add_box(where, box, self.classes.index(name, 1) - 1, crowd)
        else:
            self.unlisted[name].append((where, self.ids[-1]))

    def build(self, image_dir: Path, **attributes) -> Annotations:
        """The split, as `make_annotations` makes it."""
        for name, places in sorted(self.unlisted.items()):
            first, image_id = places[0]
            where = f"class {name!r} ({count(len(places), 'object')}, first: {first})"
            note_unlisted(
                name, where, self.classes, self.problems, image_id, drop=self.drop_unlisted
            )
        table = np.array(self.rows, np.float64).reshape(-1, 7)
        raw = RawBoxes(
            owners=table[:, 0].astype(np.int64),
            boxes=table[:, 1:5],
            labels=table[:, 5],
            crowd=table[:, 6],
            where=self.places.__getitem__,
            form=self.form,
        )
        return make_annotations(
            raw,
            self.problems,
            source=self.problems.source,
            image_dir=image_dir,
            file_names=self.names,
            image_ids=self.ids,
            sizes=self.sizes,
            category_ids=tuple(range(1, len(self.classes))),
            **attributes,
        )


def note_unlisted(
    name: str,
    where: str,
    classes: tuple[str, ...],
    problems: Problems,
    image_id: int | None = None,
    *,
    drop: bool,
) -> None:
    """An error, or a repair, for the boxes `where` of a class that is not in `classes`."""
    problems.unlisted.append(name)
    if is_background(name):
        problems.repair(where, "background dropped: it is what no box marks", image_id=image_id)
    elif drop:
        problems.repair(where, "class that is not in classes dropped", image_id=image_id)
    else:
        text = f"not in classes{way_on(name, classes[1:])}"
        problems.error(where, text, image_id=image_id)


def way_on(name: str, classes: Sequence[str]) -> str:
    """What to do about a class that is not in `classes`."""
    if alike := next((known for known in classes if spelling(known) == spelling(name)), ""):
        return f", which has {alike!r}: write both alike, or --unlisted_classes=drop"
    near = suggestion(name, classes)
    every = "" if near else "--classes=[] for those of the annotations, "
    return f"; add it, {every}or --unlisted_classes=drop{near}"
