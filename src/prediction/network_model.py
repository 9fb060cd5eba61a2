"""The network as a model: batches of images in, raw outputs or chosen candidates out."""

import functools
import sys
from collections.abc import Mapping
from typing import Protocol

import mindspore as ms
import numpy as np
from mindspore import nn
from tqdm import tqdm

from src.config.open_keys import settled
from src.data.transforms import FILL
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


class Model(Protocol):
    """Makes predictions for images: the network, or an exported file."""

    def forward(self, images: np.ndarray, *targets: np.ndarray) -> Outputs:
        """Raw outputs for images (n,H,W,3), RGB in 0..255, n at most the batch size.

        They are uint8; the network also takes float32. If targets are given, which only some
        models take, the last output is the losses (n,L), see `evaluation.split_loss`.
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
    told = False  # why there are pauses, where few are kept

    def __init__(self, network: nn.Cell, anchors: AnchorGenerator, batch_size: int):
        self.network = network
        self.boxes = functools.cache(anchors.boxes)  # (A,4) by input size
        self.batch_size = batch_size
        self.sizes: set[Size] = set()  # those whose graphs are kept

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
        outputs = run_cell(self.cell(size), self.batch_size, images)
        # outputs may lie in memory that is recycled
        return tuple(output.copy() for output in outputs) if self.most_sizes else outputs

    def make_room(self, size: Size) -> None:
        """Drops all graphs if another one, for `size`, would exceed `most_sizes`."""
        if len(self.sizes) >= self.most_sizes:
            ms.ms_memory_recycle()  # they are compiled again when needed
            self.sizes.clear()
        self.sizes.add(size)
        if not self.told:
            tqdm.write(
                "compiling for each input size when it comes, which takes seconds; graphs of "
                f"{self.most_sizes} sizes are kept. --canvas_step=0 needs two in all, with other "
                "results: docs/models.md",
                file=sys.stderr,
            )
            self.told = True

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        anchors = self.boxes(size)
        return postprocess.decoded(*outputs, anchors, level_counts(size, len(anchors)))


class CandidateModel(NetworkModel):
    """The network and its `count` (P) best predictions: boxes (n,P,4), scores (n,P), labels (n,P).

    With `by_level`, `count` are chosen of each level. With `fill`, boxes on nothing but this colour
    are excluded, see `Candidates`. For GPU and Ascend: 1,000 candidates are 24 kB per image, deltas
    and logits 17 MB at 640 px and 80 classes. Ties may be broken otherwise than by NetworkModel.
    """

    def __init__(
        self,
        network: nn.Cell,
        anchors: AnchorGenerator,
        batch_size: int,
        count: int,
        by_level: bool = False,
        fill: tuple[int, ...] | None = None,
    ):
        super().__init__(network, anchors, batch_size)
        self.count, self.by_level, self.fill = count, by_level, fill
        self.cells: dict[Size, CheckedCandidates] = {}  # by input size

    def graph_key(self) -> tuple:
        return "candidates", self.batch_size, self.count, self.by_level, self.fill

    def cell(self, size: Size) -> CheckedCandidates:
        if size not in self.cells:
            anchors = self.boxes(size)
            levels = level_counts(size, len(anchors)) if self.by_level else ()
            choice = Candidates(self.network, anchors, size, self.count, levels, self.fill)
            self.cells[size] = CheckedCandidates(choice)  # leaves the network's mode as it is
        return self.cells[size]

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        return postprocess.chosen(*outputs)


def run_cell(cell: nn.Cell, batch_size: int, *arrays: np.ndarray) -> Outputs:
    """The outputs (n,...) of a cell for arrays (n,...), n at most the batch size."""
    # tensors share the arrays' memory where no padding is needed
    tensors = [ms.Tensor.from_numpy(pad_batch(array, batch_size)) for array in arrays]
    return tuple(output.asnumpy()[: len(arrays[0])] for output in cell(*tensors))


def load_network(cfg, arrays: Mapping[str, np.ndarray] | None = None) -> SSD:
    """The configured network with the weights of `checkpoint_path`, ready for inference.

    Args:
        arrays: its weights, if they have been read already.
    """
    saved = run_config(cfg.checkpoint_path)
    cfg = settled(cfg, saved)
    if not cfg.classes:
        refuse_backbone(arrays or read_checkpoint(cfg.checkpoint_path), cfg.checkpoint_path)
        raise InputError(f"{cfg.checkpoint_path}: records no classes; name them with --classes")
    check_run(cfg.checkpoint_path, saved, cfg)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell, drawn=False)
    load_detector(network, cfg.checkpoint_path, arrays)
    return network.set_train(False)


def build_model(cfg, network: SSD, *, batch_size: int, postprocess: Postprocessor) -> NetworkModel:
    """The network as a model; on GPU and Ascend it selects candidates there, unless all enter."""
    anchors, count = build_anchors(cfg), postprocess.per_level or postprocess.candidates
    if cfg.device_target == "CPU" or not count:
        return NetworkModel(network, anchors, batch_size)
    by_level = postprocess.per_level > 0
    fill = FILL if cfg.resize == "letterbox" else None
    return CandidateModel(network, anchors, batch_size, count, by_level, fill)
