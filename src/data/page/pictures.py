"""Pictures of the page: images as JPEG, with boxes above them as SVG.

Boxes and names are drawn by the browser, which has fonts for all languages.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from src.data.annotations import Record
from src.data.drawing import FOUND, IGNORED, MISSED, colour
from src.data.loader import TrainSamples
from src.data.summary import Summary
from src.data.transforms import Sample
from src.detection.assign import Assigner
from src.detection.boxes import iou
from src.runtime.errors import InputError
from src.runtime.html import data_url
from src.runtime.text import count

HEIGHT = 260  # pixels of a picture
MOST_PIXELS = 2 * HEIGHT**2  # of a wide one
QUALITIES = (80, 60, 40)  # of JPEGs, the first that is small enough
MOST_BYTES = 30_000  # of one
BUDGET = 1_000_000  # bytes of all of a page, which base64 makes 4/3 times as many
SHAPE_BYTES = 300  # of a shape with its text
MAX_TEXT = 60  # characters of it
MAX_BOXES = 100  # drawn in a picture
SHOWN_ANCHORS = 4  # of an object, those that overlap it most


@dataclass(frozen=True)
class Shape:
    """A rectangle: corner and sides in the picture's own pixels, RGB colour, and its text."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    text: str
    kind: str  # "object", "ignored" or "anchor"


@dataclass(frozen=True)
class Picture:
    """An image of width x height pixels, shown smaller, with shapes in its pixels."""

    name: str
    url: str
    width: int
    height: int
    shapes: list[Shape]
    caption: str = ""


@dataclass
class Album:
    """Encodes pictures until the page's bytes are used up."""

    left: int = BUDGET
    refused: int = field(default=0)

    def picture(
        self, name: str, image: np.ndarray, shapes: list[Shape], caption: str = ""
    ) -> Picture | None:
        """The image (H,W,3), reduced, with shapes in its pixels; None where no bytes are left."""
        data = encoded(reduced(image))
        size = len(data) + SHAPE_BYTES * len(shapes)
        if size > self.left:
            self.refused += 1
            return None
        self.left -= size
        height, width = image.shape[:2]
        return Picture(name, data_url(data, "jpeg"), width, height, shapes, caption)


def reduced(image: np.ndarray) -> np.ndarray:
    """The image (H,W,3) scaled down to a picture's size."""
    height, width = image.shape[:2]
    factor = min(1, HEIGHT / height, (MOST_PIXELS / (height * width)) ** 0.5)
    sides = max(round(width * factor), 1), max(round(height * factor), 1)
    return cv2.resize(image, sides, interpolation=cv2.INTER_AREA)


def encoded(image: np.ndarray) -> bytes:
    """The image (H,W,3) as JPEG, of lower quality where it would be large."""
    for quality in QUALITIES:
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= MOST_BYTES:
            break
    return data.tobytes()


def in_file(album: Album, record: Record, names: tuple[str, ...]) -> Picture | None:
    """The image as it is in its file with its boxes; None where it cannot be shown."""
    try:
        image = record.read()
    except InputError:  # reported elsewhere
        return None
    shapes = [
        object_shape(box, css(colour(label)), names[label], crowd=crowd)
        for box, label, crowd in zip(record.boxes, record.labels, record.crowd)
    ]
    return album.picture(record.path.name, image, shapes[:MAX_BOXES])


def as_seen(
    album: Album, samples: TrainSamples, index: int, names: tuple[str, ...]
) -> Picture | None:
    """An image as the loader gives it, with its objects and the anchors that learn them."""
    try:
        record, sample = samples.sample(0, index, [])
    except InputError:
        return None
    shapes, fitting = matched_shapes(sample, samples.assigner, names)
    objects = int((~sample.crowd).sum())
    caption = "no object"
    if objects:
        caption = f"{fitting} of {count(objects, 'object')} {'has' if fitting == 1 else 'have'} "
        caption += "a fitting anchor"
    return album.picture(record.path.name, sample.image, shapes, caption)


def matched_shapes(
    sample: Sample, assigner: Assigner, names: tuple[str, ...]
) -> tuple[list[Shape], int]:
    """Shapes of objects and their anchors, anchors first; and how many objects fit one well.

    An object fits if an anchor learns it and, where the assigner has a fixed IoU, with that IoU.
    """
    assigned = assigner(sample.boxes, sample.crowd)
    objects, anchors, fitting = [], [], 0
    least = assigner.positive_iou or 0.0
    for row, (box, label, crowd) in enumerate(zip(sample.boxes, sample.labels, sample.crowd)):
        if crowd:
            objects.append(object_shape(box, css(IGNORED), names[label], crowd=True))
            continue
        own = assigner.anchors[assigned == row]
        overlaps = iou(box[None], own)[0]  # (M,)
        order = np.argsort(-overlaps, kind="stable")[:SHOWN_ANCHORS]
        best = overlaps.max(initial=0.0)
        fits = len(own) > 0 and best >= least
        fitting += fits
        how = f"{len(own)} anchors, best IoU {best:.2f}" if len(own) else "no anchor"
        paint = css(FOUND if fits else MISSED)
        objects.append(object_shape(box, paint, names[label], more=how))
        anchors += [rectangle(own[i], paint, f"anchor, IoU {overlaps[i]:.2f}") for i in order]
    return [*anchors[:MAX_BOXES], *objects[:MAX_BOXES]], fitting


def object_shape(
    box: np.ndarray, paint: str, name: str, *, crowd: bool = False, more: str = ""
) -> Shape:
    """The shape of an object's box."""
    text = f"{name} (ignored)" if crowd else name
    return rectangle(
        box, paint, f"{text}: {more}" if more else text, "ignored" if crowd else "object"
    )


def rectangle(box: np.ndarray, paint: str, text: str, kind: str = "anchor") -> Shape:
    """The shape of a box (4,)."""
    x1, y1, x2, y2 = (round(float(value), 1) for value in box)
    return Shape(x1, y1, round(x2 - x1, 1), round(y2 - y1, 1), paint, text[:MAX_TEXT], kind)


def css(rgb: tuple[int, int, int]) -> str:
    """A colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def sample_order(summary: Summary) -> list[int]:
    """All images in a fixed random order, every second one chosen by the rarest class in it."""
    order = np.random.default_rng(0).permutation(len(summary.annotations))
    owners = summary.annotations.owners()[~summary.annotations.crowd]
    rarity = np.full(len(order), np.inf)
    np.minimum.at(rarity, owners, summary.object_counts[summary.labels])
    rare = order[np.argsort(rarity[order], kind="stable")]
    mixed = np.stack([order, rare], axis=1).ravel().tolist()
    return list(dict.fromkeys(mixed))
