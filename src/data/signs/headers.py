"""Signs of EXIF orientations, which viewers and labelling tools apply and the decoder does not."""

from collections import Counter

import numpy as np

from src.data.annotations import Annotations
from src.data.images import QUARTER_TURNS, read_header
from src.data.signs.sign import Sign, first_ids
from src.runtime.errors import InputError
from src.runtime.text import count

SAMPLE = 200  # headers that a run reads; 20 ms on a local disk
ADVICE = (
    "turn the pixels and delete the tag, of JPEG files with 'exiftran -ai', of others with "
    "'mogrify -auto-orient', or annotate the stored pixels"
)


def orientation_sign(annotations: Annotations, *, sample: int | None) -> Sign | None:
    """What the orientations in the images' headers say about boxes that are for stored pixels.

    Args:
        sample: images whose header is read, first those whose boxes fit only the turned picture;
            None reads all.
    """
    if annotations.upright:
        return None
    rows = rows_to_read(annotations, sample)
    turned, undecided, as_stored = [], [], 0
    orientations: Counter[int] = Counter()
    for row in rows:
        try:
            size, turn = read_header(annotations.image_dir / annotations.file_name(row))
        except InputError:
            continue
        if turn == 1:
            continue
        orientations[turn] += 1
        kind = fit(annotations, row, size, turn)
        if kind == "turned":
            turned.append(row)
        elif kind == "stored":
            as_stored += 1
        else:
            undecided.append(row)
    if turned:
        return turned_sign(annotations, turned, sum(orientations.values()), len(rows))
    if undecided and not as_stored:
        return undecided_sign(annotations, undecided, orientations, len(rows))
    return None


def rows_to_read(annotations: Annotations, sample: int | None) -> list[int]:
    """The images to look at, those whose boxes fit only the turned picture first."""
    if sample is None:
        return list(range(len(annotations)))
    likely = np.flatnonzero(np.isin(annotations.image_ids, annotations.turned))[:sample]
    wanted = min(sample, len(annotations))
    spread = np.arange(wanted) * len(annotations) // max(wanted, 1)
    return np.union1d(likely, spread).astype(int).tolist()


def fit(annotations: Annotations, row: int, size: tuple[int, int], turn: int) -> str:
    """Whether an image is annotated "turned", as "stored", or "" where both are possible."""
    annotated = tuple(annotations.sizes[row].tolist())
    if turn not in QUARTER_TURNS or size[0] == size[1]:
        return ""
    if annotated == size[::-1] or annotations.image_ids[row] in annotations.turned:
        return "turned"
    boxes = annotations.boxes[annotations.offsets[row] : annotations.offsets[row + 1]]
    # they were not clipped where they fit, so one that leaves the turned picture is of the stored
    return "stored" if (boxes[:, 2:] > np.array(size[::-1]) + 1).any() else ""


def turned_sign(annotations: Annotations, rows: list[int], oriented: int, read: int) -> Sign:
    """The sign of images whose size or boxes are those of the turned picture."""
    return Sign(
        "turned",
        found=f"EXIF orientations in {oriented:,} of {count(read, 'image')}, and size or boxes "
        f"of {len(rows):,} fit only the turned picture ({annotations.listed(rows)})",
        cause="They were annotated as a viewer shows them, but pixels are used as stored",
        advice=ADVICE,
        certain=True,
        image_ids=first_ids(annotations.image_ids[rows]),
    )


def undecided_sign(
    annotations: Annotations, rows: list[int], orientations: Counter, read: int
) -> Sign:
    """The sign of images with an orientation, whose boxes fit either way."""
    kinds = ", ".join(f"{number} x {turn}" for turn, number in sorted(orientations.items()))
    return Sign(
        "orientation",
        found=f"EXIF orientations in {len(rows):,} of {count(read, 'image')} ({kinds}; "
        f"{annotations.listed(rows)}), and their boxes fit with and without it",
        cause="Viewers and many labelling tools turn them, but pixels are used as stored",
        advice="check them on the page that src.data.validate writes; where boxes are beside "
        f"their objects, {ADVICE}",
        image_ids=first_ids(annotations.image_ids[rows]),
    )
