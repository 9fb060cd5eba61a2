"""From images to detections: views of an image, models, and merging of their outputs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, product
from typing import NamedTuple

import numpy as np

from src.config.consistency import SIZE_MULTIPLE
from src.data.short_side import ShortSide, build_short_side
from src.detection.postprocess import Detections, Postprocessor
from src.detection.tiles import Tiling, build_tiling
from src.models.ssd import SSD
from src.prediction.network_model import Model, Outputs, Size, build_model
from src.runtime.text import count

MOST_CANVASES = 2  # whose graphs are kept with `canvas_step`; one of ResNet-50 at 800 px takes 3 GB


class Seen(NamedTuple):
    """A model's outputs for a batch of one view.

    Attributes:
        size: height and width of the input.
        losses: (n,L), with targets; see `evaluation.split_loss`.
    """

    size: Size
    outputs: Outputs
    losses: np.ndarray | None = None


class Inference:
    """Detections of batches, merged from all views of an image.

    `forward` runs on the device, the rest on the host, so that batches can overlap.

    Args:
        sizes: of the input, one per scale; batches may have others.
        mirror: whether to add mirrored views.
        letterbox: whether images may fill only a part of the input; predictions outside it are
            dropped before the best are chosen, unless the graph did that.
        tiling: windows of an image, by default the whole image only.
        merge: post-processing of images with tiles, by default `postprocess`.
    """

    def __init__(
        self,
        model: Model,
        postprocess: Postprocessor,
        *,
        sizes: Sequence[Size],
        mirror: bool,
        letterbox: bool = False,
        tiling: Tiling | None = None,
        merge: Postprocessor | None = None,
    ):
        self.model = model
        self.postprocess = postprocess
        self.sizes = tuple(sizes)
        self.letterbox = letterbox
        self.tiling = tiling or Tiling()
        self.merge = replace(merge or postprocess, candidates=0)  # the best of each tile enter
        # index of the input size, and whether the view is mirrored
        self.views = list(product(range(len(self.sizes)), [False, True] if mirror else [False]))

    def forward(
        self, images: Sequence[np.ndarray], targets: Sequence[tuple[np.ndarray, ...]] = ()
    ) -> list[Seen]:
        """The model's outputs for each view of images (n,H,W,3), given at each of the sizes.

        Args:
            targets: of the losses, at each size; losses are those of the unmirrored view.
        """
        seen = []
        for index, is_mirrored in self.views:
            batch = images[index]
            own = targets[index] if targets else ()
            # mirrored views get targets too: without them another graph would be compiled
            outputs = self.model.forward(batch[:, :, ::-1] if is_mirrored else batch, *own)
            losses = outputs[-1] if own and not is_mirrored else None
            seen.append(Seen(batch.shape[1:3], outputs[:-1] if own else outputs, losses))
        return seen

    def candidates(
        self,
        seen: list[Seen],
        row: int,
        scales: np.ndarray,
        size: np.ndarray,
        window: np.ndarray | None = None,
    ) -> list[Detections]:
        """Candidates of each view of image `row` of the batch, in its own pixels.

        Args:
            scales: (sizes,2) pixels of each input per pixel of the image, in x and y.
            size: (2,) the image's own width and height.
            window: (4,) the part of the image that is in the batch; None for all of it.

        Raises:
            NotFinite: nan or infinite outputs.
        """
        found, sides = [], size if window is None else window[2:] - window[:2]
        for (index, is_mirrored), (input_size, outputs, _) in zip(self.views, seen):
            own = tuple(array[row] for array in outputs)
            width = input_size[1] if is_mirrored else 0
            postprocess = self.postprocess
            if self.letterbox:
                filled = window_of(scales[index] * sides, mirrored=width)
                postprocess = replace(postprocess, window=filled)
            candidates = self.model.candidates(own, input_size, postprocess)
            candidates = candidates.in_image(scales[index], sides, mirrored=width)
            if window is not None:
                candidates = self.tiling.in_image(candidates, window, size)
            found.append(candidates)
        return found

    def merged(self, found: Sequence[list[Detections]]) -> Detections:
        """The detections of an image, from the candidates of each of its windows."""
        if len(found) == 1:
            return self.postprocess(found[0])
        return self.merge(list(chain.from_iterable(found)))


def window_of(sides: np.ndarray, *, mirrored: int) -> np.ndarray:
    """(4,) where an image with sides (2,) is in the input; `mirrored` as in `in_image`."""
    left = mirrored - sides[0] if mirrored else 0
    return np.array([left, 0, left + sides[0], sides[1]], np.float32)


def input_sizes(image_size: Size, scales: Sequence[float]) -> tuple[Size, ...]:
    """`image_size` times each scale, rounded to multiples of SIZE_MULTIPLE."""

    def side(pixels: float) -> int:
        return max(math.floor(pixels / SIZE_MULTIPLE + 0.5), 1) * SIZE_MULTIPLE

    return tuple((side(image_size[0] * s), side(image_size[1] * s)) for s in scales)


def describe_views(cfg) -> str:
    """The views of each image and their cost relative to one view, as text."""
    sizes = input_sizes(cfg.image_size, cfg.tta_scales)
    copies = 2 if cfg.tta_flip else 1
    views, pixels = copies * len(sizes), copies * sum(map(math.prod, sizes))
    times = pixels / math.prod(cfg.image_size)
    shown = ", ".join(f"{height} x {width}" for height, width in sizes)
    if cfg.resize == "short_side" and not cfg.model:
        shown = f"{'most ' * bool(cfg.canvas_step)}{shown}, upright or across"
    mirrored = ", each mirrored too" if cfg.tta_flip else ""
    work = f": {times:.1f} times the work" if times != 1 else ""
    return f"{count(views, 'view')} of each image, at {shown}{mirrored}{work}"


def find_short_side(cfg, network: SSD | None) -> ShortSide | None:
    """Resizing to a short side, if configured, for a network or else for an exported file."""
    return build_short_side(cfg, None if network is None else network.mean.asnumpy().ravel())


def build_inference(
    cfg,
    network: SSD,
    postprocess: Postprocessor,
    batch_size: int,
    model: Model | None = None,
) -> Inference:
    """Inference with a network; with an existing `model` of it, whose graphs are reused."""
    network.set_train(False)
    if model is None:
        model = build_model(cfg, network, batch_size=batch_size, postprocess=postprocess)
    if cfg.resize == "short_side" and cfg.canvas_step:
        model.most_sizes = MOST_CANVASES
    sizes = input_sizes(cfg.image_size, cfg.tta_scales)
    return Inference(
        model,
        postprocess,
        sizes=sizes,
        mirror=cfg.tta_flip,
        letterbox=cfg.resize == "letterbox",
        tiling=build_tiling(cfg),
    )
