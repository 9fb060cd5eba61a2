"""From images to detections: views of an image, models, and merging of their outputs."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import mindspore as ms
import numpy as np
from mindspore import nn

from src.config.consistency import SIZE_MULTIPLE
from src.config.open_keys import settled
from src.data.short_side import ShortSide, build_short_side
from src.deploy.exported import pad_batch
from src.detection.anchors import AnchorGenerator, build_anchors, level_counts
from src.detection.postprocess import Detections, Postprocessor
from src.models.candidates import Candidates, CheckedCandidates
from src.models.ssd import SSD, build_ssd
from src.runtime.errors import InputError
from src.weights.checkpoint_file import check_run, read_checkpoint, run_config
from src.weights.loading import load_detector, refuse_backbone

Outputs = tuple[np.ndarray, ...]  # of a model, each (n,A,...)
Size = tuple[int, int]  # height and width
Log = Callable[[str], None]  # takes a line
MOST_CANVASES = 2  # whose graphs are kept with `canvas_step`; one of ResNet-50 at 800 px takes 3 GB
TOLD_SIZES = 3  # of those that are compiled; an image of another size makes a pause of seconds


class Model(Protocol):
    """Makes predictions for images: the network, or an exported file."""

    def forward(self, images: np.ndarray) -> Outputs:
        """Raw outputs for images (n,H,W,3), RGB in 0..255, n at most the batch size.

        They are uint8; the network takes float32 too.
        """

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        """Candidates among the outputs (A,...) for one image, in pixels of the input `size`."""


class NetworkModel(Model):
    """The network: deltas (n,A,4) and logits (n,A,K).

    Args:
        network: in inference mode.
        anchors: for any input size.
        batch_size: of the graphs; smaller batches are padded.
    """

    most_sizes = 0  # input sizes whose graphs are kept at a time; 0 for all
    log: Log | None = None  # told of the first sizes that are compiled, where few are kept

    def __init__(self, network: nn.Cell, anchors: AnchorGenerator, batch_size: int):
        self.network = network
        self.boxes = functools.cache(anchors.boxes)  # (A,4) by input size
        self.batch_size = batch_size
        self.sizes: set[Size] = set()  # those whose graphs are kept
        self.told: set[Size] = set()  # those that `log` was told of

    def graph_key(self) -> tuple:
        """What its graphs depend on, besides the network."""
        return "all outputs", self.batch_size

    def cell(self, size: Size) -> nn.Cell:
        """The cell for images of this height and width."""
        return self.network

    def compile(self, size: Size) -> None:
        """Compiles what images of this height and width need."""
        self.cell(size).compile(ms.Tensor(np.zeros((self.batch_size, *size, 3), np.uint8)))

    def forward(self, images: np.ndarray) -> Outputs:
        size = images.shape[1:3]
        if self.most_sizes and size not in self.sizes:
            self.make_room(size)
        # shares the images' memory where no padding is needed
        batch = ms.Tensor.from_numpy(pad_batch(images, self.batch_size))
        outputs = tuple(output.asnumpy()[: len(images)] for output in self.cell(size)(batch))
        # outputs may lie in memory that is recycled
        return tuple(output.copy() for output in outputs) if self.most_sizes else outputs

    def make_room(self, size: Size) -> None:
        """Drops all graphs where that of `size` would be one too many."""
        if len(self.sizes) >= self.most_sizes:
            ms.ms_memory_recycle()  # they are compiled again when needed
            self.sizes.clear()
        self.sizes.add(size)
        if self.log is None or size in self.told or len(self.told) == TOLD_SIZES:
            return
        self.told.add(size)
        line = f"compiling for an input of {size[0]} x {size[1]}, which takes seconds"
        if len(self.told) == TOLD_SIZES:
            line += (
                f", as does each size that follows; graphs of {self.most_sizes} are kept. "
                "--canvas_step=0 needs two in all, with other results: docs/models.md"
            )
        self.log(line)

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        anchors = self.boxes(size)
        return postprocess.decoded(*outputs, anchors, level_counts(size, len(anchors)))


class CandidateModel(NetworkModel):
    """The network and selection of its `count` (P) best: boxes (n,P,4), scores (n,P), labels.

    With `by_level`, P is the sum of the `count` best of each level. For GPU and Ascend: 1,000
    candidates are 24 kB per image, deltas and logits 17 MB at 640 px and 80 classes. Among equal
    scores it may select others than NetworkModel.
    """

    def __init__(
        self,
        network: nn.Cell,
        anchors: AnchorGenerator,
        batch_size: int,
        count: int,
        by_level: bool = False,
    ):
        super().__init__(network, anchors, batch_size)
        self.count, self.by_level = count, by_level
        self.cells: dict[Size, CheckedCandidates] = {}  # by input size

    def graph_key(self) -> tuple:
        return "candidates", self.batch_size, self.count, self.by_level

    def cell(self, size: Size) -> CheckedCandidates:
        if size not in self.cells:
            anchors = self.boxes(size)
            levels = level_counts(size, len(anchors)) if self.by_level else ()
            choice = Candidates(self.network, anchors, size, self.count, levels)
            self.cells[size] = CheckedCandidates(choice).set_train(False)
        return self.cells[size]

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        return postprocess.chosen(*outputs)


@dataclass(frozen=True)
class View:
    """A view of an image: index of the input size, and whether it is mirrored."""

    size: int
    mirrored: bool


class Seen(NamedTuple):
    """What a model gave for a batch of a view: height and width of the input, and outputs."""

    size: Size
    outputs: Outputs


class Inference:
    """Detections of batches, merged from all views of an image.

    `forward` runs on the device and `detections` on the host, so that batches can overlap.

    Args:
        sizes: of the input, one per scale; batches may have others.
        mirror: whether to add mirrored views.
        letterbox: whether an image fills a part of the input only; predictions beside it are
            dropped before the best are chosen, where that is not done in the graph.
    """

    def __init__(
        self,
        model: Model,
        postprocess: Postprocessor,
        *,
        sizes: Sequence[Size],
        mirror: bool,
        letterbox: bool = False,
    ):
        self.model = model
        self.postprocess = postprocess
        self.sizes = tuple(sizes)
        self.letterbox = letterbox
        mirrored = [False, True] if mirror else [False]
        self.views = [View(s, m) for s in range(len(self.sizes)) for m in mirrored]

    def forward(self, images: Sequence[np.ndarray]) -> list[Seen]:
        """What each view gives for a batch of images (n,H,W,3) at each of the sizes."""
        seen = []
        for view in self.views:
            batch = images[view.size]
            outputs = self.model.forward(batch[:, :, ::-1] if view.mirrored else batch)
            seen.append(Seen(batch.shape[1:3], outputs))
        return seen

    def detections(
        self, seen: list[Seen], row: int, scales: np.ndarray, size: np.ndarray
    ) -> Detections:
        """Detections of image `row` of the batch, in its own pixels.

        Args:
            scales: (sizes,2) pixels of each input per pixel of the image, in x and y.
            size: (2,) the image's own width and height.

        Raises:
            NotFinite: nan or infinite outputs.
        """
        found = []
        for view, (input_size, outputs) in zip(self.views, seen):
            own = tuple(array[row] for array in outputs)
            width = input_size[1] if view.mirrored else 0
            postprocess = self.postprocess
            if self.letterbox:
                window = window_of(scales[view.size] * size, mirrored=width)
                postprocess = replace(postprocess, window=window)
            candidates = self.model.candidates(own, input_size, postprocess)
            found.append(candidates.in_image(scales[view.size], size, mirrored=width))
        return self.postprocess(found)


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
    if cfg.resize == "short_side" and cfg.canvas_step and not cfg.model:
        shown = f"most {shown}"
    if cfg.resize == "short_side" and not cfg.model:
        shown += "".join(f" or {width} x {height}" for height, width in sizes if height != width)
    mirrored = ", each mirrored too" if cfg.tta_flip else ""
    count = f"{views} views" if views > 1 else "one view"
    return f"{count} of each image, at {shown}{mirrored}" + (
        f": {times:.1f} times the work" if times != 1 else ""
    )


def find_short_side(cfg, network: SSD | None) -> ShortSide | None:
    """Resizing to a short side, if configured, for a network or else for an exported file."""
    return build_short_side(cfg, None if network is None else network.mean.asnumpy().ravel())


def load_network(cfg) -> SSD:
    """The configured network with the weights of `checkpoint_path`, ready for inference."""
    saved = run_config(cfg.checkpoint_path)
    cfg = settled(cfg, saved)
    if not cfg.classes:
        refuse_backbone(read_checkpoint(cfg.checkpoint_path), cfg.checkpoint_path)
        raise InputError(f"{cfg.checkpoint_path}: records no classes; name them with --classes")
    check_run(cfg.checkpoint_path, saved, cfg)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    load_detector(network, cfg.checkpoint_path)
    return network.set_train(False)


def build_model(cfg, network: SSD, *, batch_size: int, postprocess: Postprocessor) -> NetworkModel:
    """The network as a model; on GPU and Ascend it selects candidates there, unless all enter."""
    anchors, count = build_anchors(cfg), postprocess.per_level or postprocess.candidates
    if cfg.device_target == "CPU" or not count:
        return NetworkModel(network, anchors, batch_size)
    by_level = postprocess.per_level > 0
    return CandidateModel(network, anchors, batch_size, count, by_level)


def build_inference(
    cfg,
    network: SSD,
    postprocess: Postprocessor,
    batch_size: int,
    model: Model | None = None,
    log: Log | None = None,
) -> Inference:
    """Inference with a network; with an existing `model` of it, whose graphs are reused.

    Args:
        log: told why there are pauses, where graphs are compiled on the way.
    """
    network.set_train(False)
    if model is None:
        model = build_model(cfg, network, batch_size=batch_size, postprocess=postprocess)
    if cfg.resize == "short_side" and cfg.canvas_step:
        model.most_sizes, model.log = MOST_CANVASES, log
    sizes = input_sizes(cfg.image_size, cfg.tta_scales)
    return Inference(
        model, postprocess, sizes=sizes, mirror=cfg.tta_flip, letterbox=cfg.resize == "letterbox"
    )
