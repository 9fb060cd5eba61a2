"""Images of other sizes than they are annotated for, reported by their common cause."""

from contextlib import suppress

import numpy as np

from src.data.annotations import Annotations, other_size
from src.data.images import read_size, unusable
from src.data.problems import MIN_ALIKE, Problems
from src.data.signs.sign import Sign
from src.runtime.errors import InputError

# signs that boxes have where the annotated sizes are wrong
FROM_SIZES = (
    "percent", "box_format", "swapped_axes", "outside", "upper_left",
)  # fmt: skip
MOSTLY = 0.5  # of a sign's images, whose sizes explain it


def check_sizes(
    annotations: Annotations, problems: Problems, sizes: np.ndarray, *, turned: bool
) -> None:
    """Adds an error for the images whose size is not the annotated one, or for each of them.

    Args:
        sizes: (I,2) width and height of the pixels; 0 where an image was not decoded.
        turned: whether an error says already that annotations are of turned pictures.
    """
    wrong = wrong_sizes(annotations, sizes)
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


def wrong_sizes(annotations: Annotations, sizes: np.ndarray) -> np.ndarray:
    """(I,) bool: whether an image has another size, of (I,2), than the annotated one."""
    return (sizes != annotations.sizes).any(axis=1) & (sizes > 0).all(axis=1)


def not_from_sizes(signs: list[Sign], annotations: Annotations, sizes: np.ndarray) -> list[Sign]:
    """The signs without those that follow from wrong sizes (I,2) of most of their images.

    Only where the sizes are wrong for one cause.
    """
    wrong, known = wrong_sizes(annotations, sizes), (sizes > 0).all(axis=1)
    if wrong.sum() < MIN_ALIKE or not common_cause(sizes[wrong], annotations.sizes[wrong]):
        return signs

    def follows(sign: Sign) -> bool:
        own = known & np.isin(annotations.image_ids, sign.image_ids)
        return sign.name in FROM_SIZES and wrong[own if own.any() else known].mean() >= MOSTLY

    return [sign for sign in signs if not follows(sign)]


def header_sizes(annotations: Annotations, sample: int) -> np.ndarray:
    """(I,2) width and height by the headers of images spread over the split; 0 for the others."""
    sizes = np.zeros((len(annotations), 2), int)
    for row in np.unique(np.linspace(0, len(annotations) - 1, sample).astype(int)).tolist():
        with suppress(InputError):
            sizes[row] = read_size(annotations[row].path)
    return sizes


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
    if (annotated == annotated[0]).all():
        width, height = annotated[0]
        return (
            f"are all annotated as {width} x {height} pixels and have other sizes; probably the "
            "size of a network's input was written: use the images that were annotated, or write "
            "each image's own width and height, and check that its boxes are for these"
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
