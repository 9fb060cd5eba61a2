"""From images to detections: views of an image, models, and merging of their outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mindspore as ms
import numpy as np
from mindspore import nn

from src.config.consistency import SIZE_MULTIPLE
from src.config.open_keys import settled
from src.deploy.exported import pad_batch
from src.detection.anchors import AnchorGenerator, build_anchors
from src.detection.postprocess import Detections, Postprocessor
from src.models.candidates import Candidates, CheckedCandidates
from src.models.ssd import SSD, build_ssd
from src.weights.checkpoint_file import check_run, run_config
from src.weights.loading import load_detector

Outputs = tuple[np.ndarray, ...]  # of a model, each (n,A,...)
Size = tuple[int, int]  # height and width


class Model(Protocol):
    """Makes predictions for images: the network, or an exported file."""

    def forward(self, images: np.ndarray) -> Outputs:
        """Raw outputs for images (n,H,W,3) uint8, n at most the batch size."""

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        """Candidates among the outputs (A,...) for one image, in pixels of the input `size`."""


class NetworkModel(Model):
    """The network: deltas (n,A,4) and logits (n,A,K).

    Args:
        network: in inference mode.
        anchors: for any input size.
        batch_size: of the graphs; smaller batches are padded.
    """

    def __init__(self, network: nn.Cell, anchors: AnchorGenerator, batch_size: int):
        self.network = network
        self.anchors = anchors
        self.batch_size = batch_size
        self.boxes: dict[Size, np.ndarray] = {}  # anchors (A,4) by input size

    def graph_key(self) -> tuple:
        """What its graphs depend on, besides the network."""
        return "all outputs", self.batch_size

    def compile(self, size: Size) -> None:
        """Compiles what images of this height and width need."""
        self.network.compile(empty_batch(self.batch_size, size))

    def forward(self, images: np.ndarray) -> Outputs:
        deltas, logits = self.network(as_tensor(images, self.batch_size))
        return deltas.asnumpy()[: len(images)], logits.asnumpy()[: len(images)]

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        if size not in self.boxes:
            self.boxes[size] = self.anchors.boxes(size)
        return postprocess.decoded(*outputs, self.boxes[size])


class CandidateModel(Model):
    """The network and selection of its best predictions: boxes (n,P,4), scores (n,P), labels.

    For GPU and Ascend: 1,000 candidates are 24 kB per image, deltas and logits 17 MB at 640 px and
    80 classes. Among equal scores it may select others than NetworkModel.

    Args:
        network: in inference mode.
        anchors: for any input size.
        batch_size: of the graphs; smaller batches are padded.
        count: P.
    """

    def __init__(self, network: nn.Cell, anchors: AnchorGenerator, batch_size: int, count: int):
        self.network = network
        self.anchors = anchors
        self.batch_size = batch_size
        self.count = count
        self.cells: dict[Size, CheckedCandidates] = {}  # by input size

    def graph_key(self) -> tuple:
        """What its graphs depend on, besides the network."""
        return "candidates", self.batch_size, self.count

    def compile(self, size: Size) -> None:
        """Compiles what images of this height and width need."""
        self._cell(size).compile(empty_batch(self.batch_size, size))

    def forward(self, images: np.ndarray) -> Outputs:
        outputs = self._cell(images.shape[1:3])(as_tensor(images, self.batch_size))
        return tuple(output.asnumpy()[: len(images)] for output in outputs)

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        return postprocess.chosen(*outputs)

    def _cell(self, size: Size) -> CheckedCandidates:
        if size not in self.cells:
            boxes = self.anchors.boxes(size)
            choice = Candidates(self.network, boxes, size, self.count)
            self.cells[size] = CheckedCandidates(choice).set_train(False)
        return self.cells[size]


def as_tensor(images: np.ndarray, batch_size: int) -> ms.Tensor:
    """The padded batch for the network; shares the images' memory where no padding is needed."""
    return ms.Tensor.from_numpy(pad_batch(images, batch_size))


def empty_batch(batch_size: int, size: Size) -> ms.Tensor:
    """Empty images, to compile with."""
    return ms.Tensor(np.zeros((batch_size, *size, 3), np.uint8))


@dataclass(frozen=True)
class View:
    """A view of an image: index of the input size, and whether it is mirrored."""

    size: int
    mirrored: bool


class Inference:
    """Detections of batches, merged from all views of an image.

    `forward` runs on the device and `detections` on the host, so that batches can overlap.

    Args:
        model: makes the predictions.
        postprocess: merges and filters them.
        sizes: (height, width) of the input, one per scale.
        mirror: whether to add mirrored views.
    """

    def __init__(
        self, model: Model, postprocess: Postprocessor, *, sizes: Sequence[Size], mirror: bool
    ):
        self.model = model
        self.postprocess = postprocess
        self.sizes = tuple(sizes)
        self.views = [
            View(size, mirrored)
            for size in range(len(self.sizes))
            for mirrored in ([False, True] if mirror else [False])
        ]

    def forward(self, images: Sequence[np.ndarray]) -> list[Outputs]:
        """Outputs of each view for a batch of images (n,H,W,3) uint8 at each of the sizes."""
        return [
            self.model.forward(
                images[view.size][:, :, ::-1] if view.mirrored else images[view.size]
            )
            for view in self.views
        ]

    def detections(
        self, outputs: list[Outputs], row: int, scales: np.ndarray, size: np.ndarray
    ) -> Detections:
        """Detections of image `row` of the batch, in its own pixels.

        Args:
            scales: (sizes,2) pixels of each input per pixel of the image, in x and y.
            size: (2,) the image's own width and height.

        Raises:
            NotFinite: nan or infinite outputs.
        """
        found = []
        for view, arrays in zip(self.views, outputs):
            input_size = self.sizes[view.size]
            own = tuple(array[row] for array in arrays)
            seen = self.model.candidates(own, input_size, self.postprocess)
            width = input_size[1] if view.mirrored else 0
            found.append(seen.in_image(scales[view.size], size, mirrored=width))
        return self.postprocess(found)


def input_sizes(image_size: Size, scales: Sequence[float]) -> tuple[Size, ...]:
    """`image_size` times each scale, rounded to multiples of SIZE_MULTIPLE."""

    def side(pixels: float) -> int:
        return max(math.floor(pixels / SIZE_MULTIPLE + 0.5), 1) * SIZE_MULTIPLE

    return tuple((side(image_size[0] * s), side(image_size[1] * s)) for s in scales)


def describe_views(cfg) -> str:
    """The views of each image and their cost relative to one view, as text."""
    sizes = input_sizes(cfg.image_size, cfg.tta_scales)
    views = len(sizes) * (2 if cfg.tta_flip else 1)
    pixels = sum(height * width for height, width in sizes) * (2 if cfg.tta_flip else 1)
    times = pixels / (cfg.image_size[0] * cfg.image_size[1])
    shown = ", ".join(f"{height} x {width}" for height, width in sizes)
    mirrored = ", each mirrored too" if cfg.tta_flip else ""
    count = f"{views} views" if views > 1 else "one view"
    return f"{count} of each image, at {shown}{mirrored}" + (
        f": {times:.1f} times the work" if times != 1 else ""
    )


def load_network(cfg) -> SSD:
    """The configured network with the weights of `checkpoint_path`, ready for inference."""
    saved = run_config(cfg.checkpoint_path)
    cfg = settled(cfg, saved)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    load_detector(network, cfg.checkpoint_path)
    check_run(cfg.checkpoint_path, saved, cfg)
    return network.set_train(False)


def build_model(
    cfg, network: SSD, *, batch_size: int, candidates: int
) -> NetworkModel | CandidateModel:
    """The network as a model; on GPU and Ascend it selects candidates there.

    Args:
        batch_size: images per forward pass.
        candidates: most predictions used by post-processing; 0 for all.
    """
    if cfg.device_target == "CPU" or not candidates:
        return NetworkModel(network, build_anchors(cfg), batch_size)
    return CandidateModel(network, build_anchors(cfg), batch_size, candidates)


def build_inference(
    cfg, network: SSD, postprocess: Postprocessor, batch_size: int, model: Model | None = None
) -> Inference:
    """Inference with a network, as configured.

    Args:
        model: an existing model of the network, whose compiled graphs are reused.
    """
    network.set_train(False)
    model = model or build_model(
        cfg, network, batch_size=batch_size, candidates=postprocess.candidates
    )
    return Inference(
        model,
        postprocess,
        sizes=input_sizes(cfg.image_size, cfg.tta_scales),
        mirror=cfg.tta_flip,
    )
