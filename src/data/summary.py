"""A data set in numbers, at the size of the network's input: objects, sizes, anchors."""

from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations
from src.data.transforms import fitted_sides
from src.detection.anchors import AnchorGenerator
from src.detection.assign import Assigner, build_assigner
from src.runtime.text import count

WARN_SHARE = 0.05  # of objects without a fitting anchor; above it the log gives advice
UNKNOWN = -1  # anchors of an object outside the sample
POOR_IOU = 0.02  # an anchor of less than this is seven times as wide as its object, or as narrow


@dataclass(frozen=True)
class Summary:
    """The O objects of a split at the size of the network's input."""

    annotations: Annotations
    names: tuple[str, ...]  # of the K classes, without the background
    object_counts: np.ndarray  # (K,) objects of each class
    image_counts: np.ndarray  # (K,) images that have one
    sides: np.ndarray  # (O,) square roots of the objects' areas, in input pixels
    labels: np.ndarray  # (O,) of the objects
    best_ious: np.ndarray  # (O,) IoU of each object with the anchor that fits it best
    anchor_sides: np.ndarray  # square roots of the anchors' areas, ascending, without repeats
    # from this IoU on an anchor learns an object; None where the assigner has no fixed one
    positive_iou: float | None
    # without a fixed one: (O,) anchors that learn each object, or UNKNOWN
    anchor_counts: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """(O,) bool: objects whose anchors are counted."""
        if self.anchor_counts is None:
            return np.ones(len(self.sides), bool)
        return self.anchor_counts != UNKNOWN

    @property
    def unmatched(self) -> np.ndarray:
        """(O,) bool: objects whose IoU with every anchor is below `fitting_iou`.

        Without a fixed `positive_iou` also those that no anchor learns, both among the known ones.
        """
        poor = self.best_ious < fitting_iou(self.positive_iou)
        return (
            poor if self.anchor_counts is None else (self.anchor_counts == 0) | (self.known & poor)
        )

    def match_line(self) -> str:
        """How many objects are unmatched, with advice where they are many."""
        known = self.known
        unmatched, total = int(self.unmatched.sum()), int(known.sum())
        if total == 0:
            return "no objects"
        share, normal = unmatched / total, f"normal below {WARN_SHARE:.0%}"
        line = f"{share:.1%} of {count(total, 'object')} "
        if self.positive_iou is None:
            mean = self.anchor_counts[known].mean()
            sample = "" if known.all() else f", in a sample of all {len(known):,}"
            line += f"get no anchor of IoU {POOR_IOU:g} or more; {normal}; on average an object "
            line += f"gets {mean:.1f}{sample}"
        else:
            line += f"match no anchor at IoU {self.positive_iou:g}"
            line += f"; each still gets its best one; {normal}" if unmatched else ""
        if share > WARN_SHARE:
            side = np.median(self.sides[self.unmatched])
            line += (
                f". Their median side is {short(side)} pixels, the anchors' are "
                f"{self.anchor_sides[0]:.0f} to {self.anchor_sides[-1]:.0f}: consider another "
                "anchor_size, more aspect_ratios or a larger image_size"
            )
        return line

    def table(self) -> str:
        """A line for each class, the most frequent first, as aligned text."""
        width = max(5, *(len(name) for name in self.names))
        lines = [
            f"{'side, in pixels of the input':>{width + 51}}",
            f"{'class':<{width}}  {'objects':>9}  {'images':>8}  {'smallest':>8}  {'median':>8}  "
            f"{'largest':>8}  {'unmatched':>9}",
        ]
        for label in self.by_frequency():
            objects, images, *sides, unmatched = self.cells(label)
            text = "  ".join(f"{side:>8}" for side in sides)
            name = f"{self.names[label]:<{width}}"
            lines.append(f"{name}  {objects:>9}  {images:>8}  {text}  {unmatched:>9}")
        return "\n".join(lines)

    def by_frequency(self) -> list[int]:
        """The classes, the most frequent first."""
        return np.argsort(-self.object_counts, kind="stable").tolist()

    def cells(self, label: int) -> list[str]:
        """A class's objects, images, smallest, median and largest side, unmatched objects."""
        own, sides = self.labels == label, ["-", "-", "-"]
        if own.any():
            sides = [short(side) for side in np.quantile(self.sides[own], (0, 0.5, 1))]
        numbers = [self.object_counts[label], self.image_counts[label], self.unmatched[own].sum()]
        objects, images, unmatched = (f"{number:,}" for number in numbers)
        return [objects, images, *sides, unmatched]


def fitting_iou(positive_iou: float | None) -> float:
    """The IoU from which an anchor fits an object: an assigner's fixed one, or POOR_IOU."""
    return POOR_IOU if positive_iou is None else positive_iou


def short(side: float) -> str:
    """A side in pixels: whole from 10 on, else with two digits."""
    return f"{side:.0f}" if side >= 10 else f"{side:.2g}"


def summarise(
    annotations: Annotations,
    names: tuple[str, ...],
    anchors: AnchorGenerator,
    *,
    image_size: tuple[int, int],
    keep_aspect: bool,
    assigner: Assigner,
    assigned_images: int | None = None,
) -> Summary:
    """Counts and measures the objects of a split, without ignored regions, at the input's size.

    Args:
        assigned_images: size of the sample of images whose anchors are counted, for an assigner
            without a fixed `positive_iou`; None counts in all.
    """
    objects, owners = ~annotations.crowd, annotations.owners()
    fitted = [
        fitted_sides(width, height, image_size, keep_aspect=keep_aspect)
        for width, height in annotations.sizes.tolist()
    ]
    scales = np.array(fitted, np.float32).reshape(-1, 2) / annotations.sizes
    all_boxes = annotations.boxes * np.tile(scales[owners], 2)
    counts = None
    if assigner.positive_iou is None:
        counts = count_anchors(annotations, all_boxes, assigner, assigned_images)[objects]
    boxes, labels = all_boxes[objects], annotations.labels[objects]
    anchor_sides = np.concatenate([np.sqrt(sides.prod(axis=1)) for sides in anchors.sides])
    return Summary(
        annotations=annotations,
        names=names,
        object_counts=np.bincount(labels, minlength=len(names)),
        image_counts=np.bincount(annotations.class_pairs()[1], minlength=len(names)),
        sides=np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)),
        labels=labels,
        best_ious=anchors.best_ious(boxes, image_size),
        anchor_sides=np.unique(anchor_sides.round(3)),
        positive_iou=assigner.positive_iou,
        anchor_counts=counts,
    )


def count_anchors(
    annotations: Annotations, boxes: np.ndarray, assigner: Assigner, images: int | None
) -> np.ndarray:
    """How many anchors learn each of the boxes (B,4), which are in pixels of the input: (B,).

    UNKNOWN outside a sample of `images` images, evenly spaced in the split; None takes all.
    """
    counts = np.full(len(boxes), UNKNOWN)
    total = len(annotations)
    wanted = total if images is None else min(images, total)
    for index in np.arange(wanted) * total // max(wanted, 1):
        own = slice(annotations.offsets[index], annotations.offsets[index + 1])
        counts[own] = assigner.anchor_counts(boxes[own], annotations.crowd[own])
    return counts


def build_summary(
    cfg, annotations: Annotations, anchors: AnchorGenerator, *, assigned_images: int | None = None
) -> Summary:
    """The summary under the configuration; see `summarise`."""
    return summarise(
        annotations,
        cfg.classes[1:],
        anchors,
        image_size=cfg.image_size,
        keep_aspect=cfg.resize != "stretch",
        assigner=build_assigner(cfg),
        assigned_images=assigned_images,
    )
