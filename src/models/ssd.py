"""The detector: backbone, feature pyramid and shared heads, from uint8 images to raw outputs."""

import math
from collections.abc import Sequence
from functools import partial

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.config.open_keys import IMAGE_MEAN, IMAGE_STD, settled
from src.detection.anchors import STRIDES, level_shapes
from src.detection.box_coder import DistributionCoder, build_distribution
from src.models.backbone import Backbone
from src.models.backbones import BACKBONES
from src.models.costs import LayerCost, Size, tensor_cost
from src.models.fpn import FPN
from src.models.heads import SharedHead
from src.models.layers import freeze, use_float16

PRIOR_PROBABILITY = 0.01  # score of every class at the start, so background does not swamp the loss
LAST_NORM_GAMMA = 0.3  # of each residual block: near the identity, yet every block learns at once
HEAD_INIT_STD = 0.01  # with PRIOR_PROBABILITY, the initialisation of the focal loss paper


class SSD(nn.Cell):
    """SSD with a feature pyramid and heads shared over the levels; see `build_ssd`.

    Args:
        backbone: see `models.backbone`.
        fpn: of the backbone's three levels.
        box_head: predicts 4 deltas for each anchor, or 4 distributions.
        class_head: predicts K logits for each anchor, one for each foreground class. If the box
            head has a centerness, its sigmoid multiplies their scores, as in ATSS (Zhang et al.,
            2020); the network's class logits are then those of the products.
        distribution: converts distributions to deltas; None if the box head predicts deltas.
        image_mean, image_std: RGB, in 0..255, that pixels are normalised with.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        fpn: FPN,
        box_head: SharedHead,
        class_head: SharedHead,
        distribution: DistributionCoder | None = None,
        image_mean: Sequence[float] = IMAGE_MEAN,
        image_std: Sequence[float] = IMAGE_STD,
    ):
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.box_head = box_head
        self.class_head = class_head
        self.num_classes = class_head.outputs
        self.has_centerness = box_head.centerness is not None
        self.distribution = distribution
        self.mean = ms.Tensor(np.array(image_mean, np.float32)[:, None, None])  # (3,1,1)
        self.inverse_std = ms.Tensor(1 / np.array(image_std, np.float32)[:, None, None])

    def construct(self, images):
        """Images (N,H,W,3) uint8 RGB -> box deltas (N,A,4) and class logits (N,A,K), float32.

        In training, a network that predicts distributions returns these instead: (N,A,4 * bins).
        """
        predicted, logits = self.predict(images)
        return predicted if self.training else self.deltas(predicted), logits

    def predict(self, images):
        """Box deltas or distributions, and class logits: the inputs of the losses."""
        return self.predictions(self.fpn(*self.body(images)))

    def body(self, images):
        """The backbone's levels of images (N,H,W,3)."""
        x = ops.cast(images, ms.float32).transpose(0, 3, 1, 2)  # (N,3,H,W)
        return self.backbone((x - self.mean) * self.inverse_std)

    def predictions(self, features):
        """`predict` from the pyramid's levels."""
        predicted, logits = self.box_head(features), self.class_head(features)
        predicted, logits = ops.cast(predicted, ms.float32), ops.cast(logits, ms.float32)
        if self.has_centerness:
            logits = product_logit(logits, predicted[..., -1:])
            predicted = predicted[..., :-1]
        return predicted, logits

    def deltas(self, predicted):
        """Box deltas (N,A,4) from the first output of `predict`."""
        return predicted if self.distribution is None else self.distribution(predicted)

    def costs(self, image_size: Size) -> dict[str, list[LayerCost]]:
        """Costs of each part's layers for an image of (height, width)."""
        sizes = level_shapes(image_size)
        pixels = tensor_cost(3, image_size)  # normalised
        return {
            "backbone": [pixels, *self.backbone.costs(image_size)],
            "fpn": list(self.fpn.costs(sizes[:3])),
            "box_head": list(self.box_head.costs(sizes)),
            "class_head": list(self.class_head.costs(sizes)),
        }


def product_logit(a, b):
    """The logit of sigmoid(a) * sigmoid(b); b is broadcast over the columns of a."""
    return a - softplus(-b) - softplus(a - softplus(b))


def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return ops.relu(x) + ops.log(1 + ops.exp(-ops.abs(x)))


def initialize(network: SSD, seed: int) -> None:
    """Draws the weights of an untrained detector; they depend on the seed alone.

    He's fan-out normal for the backbone and the pyramid, a small scale for the last norm of each
    residual block (Goyal et al., 2017, start it at zero; docs/measured.md has trials):
    without both, a ResNet50 hardly learns from scratch in a short run. A pyramid without norms
    has a fan-in normal, which keeps the variance, as torchvision's. Heads and class bias as in the
    focal loss paper.
    """
    rng = np.random.default_rng(seed)
    for name, cell in network.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            out_channels, in_channels, height, width = cell.weight.shape
            std = math.sqrt(2 / (out_channels * height * width / cell.group))
            if name.startswith(("box_head", "class_head")):
                std = HEAD_INIT_STD
            elif name.startswith("fpn") and cell.has_bias:
                std = math.sqrt(1 / (in_channels * height * width))
            draw = rng.standard_normal(cell.weight.shape, dtype=np.float32)
            cell.weight.set_data(ms.Tensor(draw * np.float32(std)))
        elif hasattr(cell, "last_norm"):
            gamma = cell.last_norm.gamma
            gamma.set_data(ms.Tensor(np.full(gamma.shape, LAST_NORM_GAMMA, np.float32)))
    bias = network.class_head.predictor.bias
    prior_logit = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)
    bias.set_data(ms.Tensor(np.full(bias.shape, prior_logit, np.float32)))


def build_heads(
    cfg, anchors_per_cell: int, distribution: DistributionCoder | None
) -> tuple[SharedHead, SharedHead]:
    """The heads of the boxes and of the classes."""
    head = partial(
        SharedHead,
        channels=cfg.fpn_channels,
        depth=cfg.head_depth,
        levels=len(STRIDES),
        anchors_per_cell=anchors_per_cell,
        head_norm=cfg.head_norm,
        head_activation=cfg.head_activation,
        norm_momentum=cfg.norm_momentum,
    )
    numbers = 4 if distribution is None else 4 * distribution.bins
    box_head = head(outputs=numbers, level_scale=cfg.level_scale, centerness=cfg.centerness)
    return box_head, head(outputs=len(cfg.classes) - 1)  # classes[0] is the background


def build_ssd(cfg, anchors_per_cell: int, *, drawn: bool = True) -> SSD:
    """The detector that the configuration asks for; without `drawn` its weights are zero."""
    cfg = settled(cfg, {})
    build_backbone = BACKBONES[cfg.backbone]
    backbone = build_backbone(padding=cfg.padding, norm_momentum=cfg.norm_momentum)
    fpn = FPN(
        in_channels=backbone.out_channels,
        channels=cfg.fpn_channels,
        p6_from=cfg.p6_from,
        fpn_relu=cfg.fpn_relu,
        fpn_padding=cfg.fpn_padding,
        fpn_norm=cfg.fpn_norm,
        norm_momentum=cfg.norm_momentum,
    )
    distribution = build_distribution(cfg)
    box_head, class_head = build_heads(cfg, anchors_per_cell, distribution)
    network = SSD(
        backbone=backbone,
        fpn=fpn,
        box_head=box_head,
        class_head=class_head,
        distribution=distribution,
        image_mean=cfg.image_mean,
        image_std=cfg.image_std,
    )
    if drawn:
        initialize(network, cfg.seed)
    freeze(network.backbone.stages(cfg.freeze_backbone_stages))
    if cfg.freeze_norms != "none":
        freeze([network if cfg.freeze_norms == "all" else network.backbone], norms_only=True)
    if cfg.precision == "float16":
        use_float16(network)
    return network
