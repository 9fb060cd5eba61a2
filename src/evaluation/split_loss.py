"""The loss of a split, from the forward passes that detect in it."""

from collections.abc import Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.targets import TARGETS, target_layout
from src.data.workers import Layout
from src.detection.assign import build_assigner
from src.detection.postprocess import Detections, Postprocessor
from src.losses.detection_loss import DetectionLoss, build_loss
from src.models.ssd import SSD
from src.prediction.inference import input_sizes
from src.prediction.network_model import Model, NetworkModel, Outputs, Size, build_model, run_cell

LOSS = "loss"  # name of the sum of the terms


class WithLosses(nn.Cell):
    """A model's outputs and the losses of its images, from one forward pass.

    Args:
        network: the detector.
        choice: of candidates among its outputs; None for all outputs.
        loss: of what it predicts.
    """

    def __init__(self, network: SSD, choice: nn.Cell | None, loss: DetectionLoss):
        super().__init__(auto_prefix=False)
        self.network = network
        self.choice = choice
        self.loss = loss

    def construct(self, images, assigned, boxes, labels):
        """The model's outputs, then `DetectionLoss.by_image` as an array (N,L)."""
        predicted, logits = self.network.predict(images)
        losses = ops.stack(self.loss.by_image(predicted, logits, assigned, boxes, labels), axis=1)
        outputs = (self.network.deltas(predicted), logits)
        if self.choice is not None:
            outputs = self.choice.choose(*outputs, images)
        return (*outputs, losses)


class LossModel(Model):
    """A network's model that gives the losses too, where it gets targets.

    Args:
        model: of the network.
        loss: for inputs of `size`, (height, width).
        layout: of a batch's targets.
    """

    def __init__(self, model: NetworkModel, loss: DetectionLoss, size: Size, layout: Layout):
        self.model, self.layout, self.term_names = model, layout, loss.term_names
        cell = model.cell(size)
        choice = None if cell is model.network else cell
        self.cell = WithLosses(model.network, choice, loss)  # leaves the network's mode as it is

    def graph_key(self) -> tuple:
        """What its graphs depend on, besides the network."""
        return *self.model.graph_key(), "losses", self.layout

    def compile(self, size: Size) -> None:
        """Compiles the graph with the loss for images of this height and width."""
        images = np.zeros((self.model.batch_size, *size, 3), np.uint8)
        targets = [np.zeros(*self.layout[name]) for name in TARGETS]
        self.cell.compile(*map(ms.Tensor, (images, *targets)))

    def forward(self, images: np.ndarray, *targets: np.ndarray) -> Outputs:
        if not targets:
            return self.model.forward(images)
        return run_cell(self.cell, self.model.batch_size, images, *targets)

    def candidates(self, outputs: Outputs, size: Size, postprocess: Postprocessor) -> Detections:
        return self.model.candidates(outputs, size, postprocess)


def measures_loss(cfg: Config) -> bool:
    """Whether evaluations give a loss: images are seen as in training, at `image_size`."""
    seen = input_sizes(cfg.image_size, cfg.tta_scales)
    return cfg.eval_loss and cfg.resize != "short_side" and tuple(cfg.image_size) in seen


def build_split_model(
    cfg: Config, network: SSD, annotations: Annotations, postprocess: Postprocessor
) -> NetworkModel | LossModel:
    """The network as a model that detects in a split and, if configured, gives the losses."""
    model = build_model(cfg, network, batch_size=cfg.eval_batch_size, postprocess=postprocess)
    if not measures_loss(cfg):
        return model
    layout = target_layout(cfg.eval_batch_size, build_assigner(cfg), annotations.max_objects())
    return LossModel(model, build_loss(cfg), tuple(cfg.image_size), layout)


def mean_losses(names: Sequence[str], sums: np.ndarray) -> dict[str, float]:
    """LOSS and its terms, as in one batch of all images.

    Args:
        names: of the terms.
        sums: (images,L) of each image's anchors, positives last; they divide the others' totals.
    """
    *totals, positives = sums.sum(axis=0, dtype=np.float64)
    terms = np.array(totals) / max(positives, 1.0)
    return {LOSS: float(terms.sum()), **dict(zip(names, terms.tolist()))}


def describe_losses(losses: Mapping[str, float]) -> str:
    """The losses in words, "loss 1.5 = class_loss 1 + box_loss 0.5"; "" for none."""
    if not losses:
        return ""
    terms = " + ".join(f"{name} {value:.4f}" for name, value in losses.items() if name != LOSS)
    return f"{LOSS} {losses[LOSS]:.4f} = {terms}"
