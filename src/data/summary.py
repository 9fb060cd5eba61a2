"""A data set in numbers, at the size of the network's input: objects, sizes, anchors."""

from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations
from src.data.transforms import fitted_sides
from src.detection.anchors import AnchorGenerator
from src.runtime.text import count

WARN_SHARE = 0.05  # of objects without a fitting anchor; above it the log gives advice


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
    positive_iou: float  # from this IoU on an anchor learns an object

    @property
    def unmatched(self) -> np.ndarray:
        """(O,) bool: objects whose IoU with every anchor is below `positive_iou`."""
        return self.best_ious < self.positive_iou

    def match_line(self) -> str:
        """How many objects are unmatched, with advice where they are many."""
        unmatched, total = int(self.unmatched.sum()), len(self.sides)
        if total == 0:
            return "no objects"
        share = unmatched / total
        line = (
            f"{unmatched:,} of {count(total, 'object')} ({share:.1%}) overlap no anchor by "
            f"IoU {self.positive_iou:g}"
        )
        if share > WARN_SHARE:
            side = np.median(self.sides[self.unmatched])
            line += (
                f". Their median side is {side:.0f} pixels, the anchors' are "
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
        for label in np.argsort(-self.object_counts, kind="stable"):
            own = self.labels == label
            text = f"{'-':>8}  {'-':>8}  {'-':>8}"
            if own.any():
                sides = self.sides[own]
                text = f"{sides.min():>8.0f}  {np.median(sides):>8.0f}  {sides.max():>8.0f}"
            lines.append(
                f"{self.names[label]:<{width}}  {self.object_counts[label]:>9,}  "
                f"{self.image_counts[label]:>8,}  {text}  {self.unmatched[own].sum():>9,}"
            )
        return "\n".join(lines)


def summarise(
    annotations: Annotations,
    names: tuple[str, ...],
    anchors: AnchorGenerator,
    *,
    image_size: tuple[int, int],
    keep_aspect: bool,
    positive_iou: float,
) -> Summary:
    """Counts and measures the objects of a split, without ignored regions, at the input's size."""
    objects = ~annotations.crowd
    owners, labels = annotations.owners()[objects], annotations.labels[objects]
    fitted = [
        fitted_sides(width, height, image_size, keep_aspect=keep_aspect)
        for width, height in annotations.sizes.tolist()
    ]
    scales = np.array(fitted, np.float32).reshape(-1, 2) / annotations.sizes
    boxes = annotations.boxes[objects] * np.tile(scales[owners], 2)
    present = np.unique(owners * len(names) + labels)  # each (image, class) once
    anchor_sides = np.concatenate([np.sqrt(sides.prod(axis=1)) for sides in anchors.sides])
    return Summary(
        annotations=annotations,
        names=names,
        object_counts=np.bincount(labels, minlength=len(names)),
        image_counts=np.bincount(present % len(names), minlength=len(names)),
        sides=np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)),
        labels=labels,
        best_ious=anchors.best_ious(boxes, image_size),
        anchor_sides=np.unique(anchor_sides.round(3)),
        positive_iou=positive_iou,
    )


def build_summary(cfg, annotations: Annotations, anchors: AnchorGenerator) -> Summary:
    """The summary under the configuration."""
    return summarise(
        annotations,
        cfg.classes[1:],
        anchors,
        image_size=cfg.image_size,
        keep_aspect=cfg.resize == "letterbox",
        positive_iou=cfg.positive_iou,
    )
