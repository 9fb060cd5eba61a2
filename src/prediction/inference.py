"""From images to detections: views of an image, a model that looks at them, what is made of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Protocol, Union

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
    """What makes predictions for images: the network, or a file that it was exported to."""

    def forward(self, images: np.ndarray) -> Outputs:
        """Raw outputs for images (n,H,W,3) uint8, n at most the batch size."""

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        """What is worth a look in the outputs (A,...) for one image, in pixels of its `size`."""


class NetworkModel(Model):
    """The network: deltas (n,A,4) and logits (n,A,K).

    Args:
        network: set to inference.
        anchors: of any input size.
        batch_size: that each size is compiled for; smaller batches are filled up.
    """

    def __init__(self, network: nn.Cell, anchors: AnchorGenerator, batch_size: int):
        self.network = network
        self.anchors = anchors
        self.batch_size = batch_size
        self.boxes: dict[Size, np.ndarray] = {}  # anchors (A,4) of the sizes seen so far

    def graph_facts(self) -> tuple:
        """What decides its graphs beside the network."""
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
    """The network and the choice of its best predictions: boxes (n,P,4), scores (n,P), labels.

    For a card: 1,000 candidates are 24 kB an image, deltas and logits 17 MB at 640 px and 80
    classes. Of equal scores it may choose others than NetworkModel.

    Args:
        network: set to inference.
        anchors: of any input size.
        batch_size: that each size is compiled for; smaller batches are filled up.
        count: P.
    """

    def __init__(self, network: nn.Cell, anchors: AnchorGenerator, batch_size: int, count: int):
        self.network = network
        self.anchors = anchors
        self.batch_size = batch_size
        self.count = count
        self.cells: dict[Size, CheckedCandidates] = {}  # of the sizes seen so far

    def graph_facts(self) -> tuple:
        """What decides its graphs beside the network."""
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
    """The batch for the network, `pad_batch`; it shares the memory of images that need no more."""
    return ms.Tensor.from_numpy(pad_batch(images, batch_size))


def empty_batch(batch_size: int, size: Size) -> ms.Tensor:
    """Images without content, to compile for."""
    return ms.Tensor(np.zeros((batch_size, *size, 3), np.uint8))


@dataclass(frozen=True)
class View:
    """One way to show an image to a model: which of its input sizes, and mirrored or not."""

    size: int
    mirrored: bool


class Inference:
    """Detections of batches: what a model says of each view of an image, put together.

    `forward` is the device's work and `detections` the host's, so that one batch can be thinned
    out while the next one is looked at.

    Args:
        model: makes the predictions.
        postprocess: thins them out.
        sizes: (height, width) of the model's input, several to look at images at several scales.
        mirror: whether to look at mirrored images too.
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
        """Outputs of each view for a batch, images (n,H,W,3) uint8 at each of the sizes."""
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
            scales: (sizes, 2) pixels of each input per pixel of the image, in x and y.
            size: (2,) the image's own width and height.

        Raises:
            NotFinite: the outputs are not numbers.
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
    """`image_size` times each scale, to the nearest multiples that the network takes."""

    def side(pixels: float) -> int:
        return max(math.floor(pixels / SIZE_MULTIPLE + 0.5), 1) * SIZE_MULTIPLE

    return tuple((side(image_size[0] * s), side(image_size[1] * s)) for s in scales)


def cost_of_views(cfg) -> str:
    """What is looked at of each image, and how much more that is than one view of its size."""
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
) -> Union[NetworkModel, CandidateModel]:
    """The network as a model; on a card it chooses its best predictions there.

    Args:
        batch_size: images of a forward pass.
        candidates: predictions that post-processing looks at, at most; 0 for all.
    """
    if cfg.device_target == "CPU" or not candidates:
        return NetworkModel(network, build_anchors(cfg), batch_size)
    return CandidateModel(network, build_anchors(cfg), batch_size, candidates)


def build_inference(
    cfg, network: SSD, postprocess: Postprocessor, batch_size: int, model: Optional[Model] = None
) -> Inference:
    """Inference with a network in memory, as the configuration asks for it.

    Args:
        model: of the network, if it was made before; its graphs are compiled then.
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
