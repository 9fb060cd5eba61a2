"""Images of other sizes than they are annotated for, reported by their common cause."""

import numpy as np

from src.data.annotations import Annotations, other_size
from src.data.images import unusable
from src.data.problems import MIN_ALIKE, Problems


def check_sizes(
    annotations: Annotations, problems: Problems, sizes: np.ndarray, *, turned: bool
) -> None:
    """Adds an error for the images whose size is not the annotated one, or for each of them.

    Args:
        sizes: (I,2) width and height of the pixels; 0 where an image was not decoded.
        turned: whether an error says already that annotations are of turned pictures.
    """
    wrong = (sizes != annotations.sizes).any(axis=1) & (sizes > 0).all(axis=1)
    if turned:
        wrong &= (sizes[:, ::-1] != annotations.sizes).any(axis=1)
    rows = np.flatnonzero(wrong)
    cause = common_cause(sizes[rows], annotations.sizes[rows]) if len(rows) >= MIN_ALIKE else ""
    if not cause:
        for row in rows.tolist():
            record = annotations[row]
            error = unusable(record.path, other_size(record, sizes[row]))
            where, image_id = annotations.where(row), record.image_id
            problems.error(where, str(error), error.cause, image_id=image_id)
        return
    row = rows[0]
    which = f"all {len(rows):,}" if len(rows) == len(sizes) else f"{len(rows):,} of {len(sizes):,}"
    record = annotations[row]
    example = f"{record.path} {other_size(record, sizes[row], ask=False)}"
    text = f"{cause} (first: {example})"
    problems.error(f"{which} images", text, image_id=record.image_id)


def common_cause(sizes: np.ndarray, annotated: np.ndarray) -> str:
    """What explains all sizes (N,2) where others are annotated, and what to do; "" if nothing."""
    if (sizes[:, ::-1] == annotated).all():
        return (
            "have the annotated width and height exchanged; probably they were turned after they "
            "were annotated, or before: turn the images, or width, height and boxes"
        )
    if factor := common_factor(sizes, annotated):
        return (
            f"are {factor:.4g} times as large as annotated; probably they were resized: use the "
            f"original images, or multiply boxes, width and height by {factor:.4g}"
        )
    if (sizes == sizes[0]).all():
        width, height = sizes[0]
        return (
            f"are {width} x {height} pixels, whatever is annotated; probably they were resized to "
            "one size: use the original images, or scale each image's boxes, width and height"
        )
    return ""


def common_factor(sizes: np.ndarray, annotated: np.ndarray) -> float:
    """The roundest factor between all sizes (N,2), which are whole pixels; 0 if there is none."""
    factor = sizes.sum() / annotated.sum()
    for digits in (1, 2, 3, 4):
        rounded = round(factor, digits)
        if rounded and (np.abs(annotated * rounded - sizes) <= 1).all():
            return rounded
    return 0.0
