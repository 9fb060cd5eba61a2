"""Samples of a split: images in their files, and as the network sees them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from src.config.configuration import Config
from src.data.augmentation.presets import Augmentation
from src.data.drawing import FOUND, IGNORED, MISSED
from src.data.loader import TrainSamples, training_samples
from src.data.page.album import Album, Picture
from src.data.page.findings import SplitFindings
from src.data.page.pictures import MAX_BOXES, in_file, object_shape
from src.data.page.shapes import Shape, rectangle
from src.data.summary import Summary, fitting_iou
from src.data.transforms import Sample
from src.detection.assign import Assigner
from src.detection.boxes import iou
from src.runtime.errors import InputError
from src.runtime.text import count

SAMPLES = {"training": 10, "evaluation": 4}  # images shown of a split


def sample_pairs(cfg: Config, split: SplitFindings, album: Album) -> Iterator[list[Picture]]:
    """Pairs of pictures: an image in its file, and as the network sees it."""
    if split.summary is None:
        return
    samples = make_samples(cfg, split)
    left = SAMPLES[split.role]
    for index in sample_order(split.summary):
        if left == 0:
            return
        record = split.summary.annotations[index]
        pair: list[Picture | None] = [in_file(album, record, split.summary.names)]
        if pair[0] is not None:
            pair.append(as_seen(album, samples, index, split.summary.names))
        if None not in pair:
            left -= 1
            yield pair
        elif album.refused:
            return


def make_samples(cfg: Config, split: SplitFindings) -> TrainSamples:
    """The samples of the training run, or of evaluation, which only fits images to the input."""
    samples = training_samples(cfg, split.summary.annotations)
    if split.role == "training":
        return samples
    return replace(samples, augmentation=Augmentation("none", keep_aspect=cfg.resize != "stretch"))


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
        least = fitting_iou(samples.assigner.positive_iou)
        caption = f"{fitting} of {count(objects, 'object')} {'has' if fitting == 1 else 'have'} "
        caption += f"an anchor of IoU {least:g} or more"
    return album.picture(record.path.name, sample.image, shapes, caption)


def matched_shapes(
    sample: Sample, assigner: Assigner, names: tuple[str, ...]
) -> tuple[list[Shape], int]:
    """Shapes of objects and, after them, of the best anchor of each that has a fitting one.

    An object fits if an anchor of `fitting_iou` or more learns it.
    Returns also how many objects fit.
    """
    assigned = assigner(sample.boxes, sample.crowd)
    objects, anchors = [], []
    least = fitting_iou(assigner.positive_iou)
    for row, (box, label, crowd) in enumerate(zip(sample.boxes, sample.labels, sample.crowd)):
        if crowd:
            objects.append(object_shape(box, IGNORED, names[label], crowd=True))
            continue
        own = assigner.anchors[assigned == row]
        overlaps = iou(box[None], own)[0]  # (M,)
        best = overlaps.max(initial=0.0)
        how = f"{count(len(own), 'anchor')}, best IoU {best:.2f}" if len(own) else "no anchor"
        fits = len(own) > 0 and best >= least
        if fits:
            objects.append(object_shape(box, FOUND, names[label], more=how))
            text = f"the best anchor, IoU {best:.2f}"
            anchors.append(rectangle(own[overlaps.argmax()], FOUND, text))
        else:
            objects.append(object_shape(box, MISSED, names[label], more=how, kind="missed"))
    return [*objects[:MAX_BOXES], *anchors[:MAX_BOXES]], len(anchors)


def sample_order(summary: Summary) -> list[int]:
    """All images in a fixed random order, every second one chosen by the rarest class in it."""
    order = np.random.default_rng(0).permutation(len(summary.annotations))
    owners = summary.annotations.owners()[~summary.annotations.crowd]
    rarity = np.full(len(order), np.inf)
    np.minimum.at(rarity, owners, summary.object_counts[summary.labels])
    rare = order[np.argsort(rarity[order], kind="stable")]
    mixed = np.stack([order, rare], axis=1).ravel().tolist()
    return list(dict.fromkeys(mixed))
