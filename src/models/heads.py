"""Prediction heads, whose convolutions are shared by all levels."""

from collections.abc import Iterator, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.models.costs import RELU, RELU6, LayerCost, Size, conv_cost
from src.models.layers import conv, group_norm, norm


class Head(nn.Cell):
    """A tower of convolutions at each level of the pyramid, and one predictor.

    A subclass has a method `tower(level, x)`, (N,C,H,W) to (N,C,H,W), and cells `predictor` and
    `centerness`, or None, which it defines last: weights are drawn in the order of definition.

    Args:
        outputs: numbers predicted per anchor.
        scales: (levels,) that the predictions of each level are multiplied by, in float32.
        activation: of the tower.
    """

    def __init__(self, outputs: int, scales: ms.Parameter | None, activation: nn.Cell):
        super().__init__()
        self.outputs = outputs
        self.scales = scales
        self.activation = activation

    def construct(self, features):
        """Levels of (N,C,H,W), finest first -> (N,A,outputs) in the order of the anchors.

        With `centerness` its logit is one more output of each anchor, the last.
        """
        predictions = ()
        for level, feature in enumerate(features):
            tower = self.tower(level, feature)
            x = self.predictor(tower).transpose(0, 2, 3, 1)  # (N,H,W,B*outputs)
            if self.scales is not None:
                x = ops.cast(x, ms.float32) * self.scales[level]
            x = x.reshape(x.shape[0], -1, self.outputs)  # (N,A_l,outputs)
            if self.centerness is not None:
                last = self.centerness(tower).transpose(0, 2, 3, 1)  # (N,H,W,B)
                x = ops.concat([x, ops.cast(last.reshape(*x.shape[:2], 1), x.dtype)], axis=2)
            predictions += (x,)
        return ops.concat(predictions, axis=1)  # (N,A,outputs)


class SharedHead(Head):
    """A tower of 3x3 convolutions and one predictor, their weights shared over the levels.

    Statistics differ from level to level, so each level has its own batch norms, as in TF's
    weight-shared convolutional box predictor. Group norms have none and are shared, as in
    torchvision's RetinaNet v2, ATSS and GFL. Without norms the convolutions have biases, as in
    RetinaNet.

    Args:
        channels: of the pyramid and of the tower.
        depth: convolutions in the tower.
        outputs: numbers predicted per anchor.
        head_norm: "batch", "group" or "none".
        head_activation: "relu6" or "relu".
        level_scale: whether the predictions of each level are multiplied by a learnt number, as in
            FCOS (Tian et al., 2019).
        centerness: whether there is one more predictor, of a logit per anchor.
    """

    def __init__(
        self,
        *,
        channels: int,
        depth: int,
        levels: int,
        anchors_per_cell: int,
        outputs: int,
        head_norm: str = "batch",
        head_activation: str = "relu6",
        level_scale: bool = False,
        centerness: bool = False,
        norm_momentum: float = 0.9,
    ):
        scales = ms.Parameter(np.ones(levels, np.float32)) if level_scale else None
        activation = {"relu": nn.ReLU, "relu6": nn.ReLU6}[head_activation]()
        super().__init__(outputs, scales, activation)
        self.depth = depth
        self.has_norms = head_norm != "none"
        bias = not self.has_norms
        self.convs = nn.CellList([conv(channels, channels, 3, bias=bias) for _ in range(depth)])
        self.shares_norms = head_norm != "batch"
        make = {
            "batch": lambda: norm(channels, norm_momentum),
            "group": lambda: group_norm(channels),
            "none": nn.Identity,
        }[head_norm]
        copies = 1 if self.shares_norms else levels
        self.norms = nn.CellList(
            [nn.CellList([make() for _ in range(depth)]) for _ in range(copies)]
        )
        self.predictor = conv(channels, anchors_per_cell * outputs, 3, bias=True)
        self.centerness = conv(channels, anchors_per_cell, 3, bias=True) if centerness else None

    def tower(self, level, x):
        norms = self.norms[0 if self.shares_norms else level]
        for index in range(self.depth):
            x = self.activation(norms[index](self.convs[index](x)))
        return x

    def costs(self, sizes: Sequence[Size]) -> Iterator[LayerCost]:
        """Costs of the layers over levels of these sizes."""
        kept = RELU6 if isinstance(self.activation, nn.ReLU6) else RELU
        for size in sizes:
            for layer in self.convs:
                yield conv_cost(layer, size, kept=kept, has_norm=self.has_norms)[0]
            # predictions that are scaled are kept in float32, as a norm's input is
            is_scaled = self.scales is not None
            yield conv_cost(self.predictor, size, kept=0, has_norm=is_scaled)[0]
            if self.centerness is not None:
                yield conv_cost(self.centerness, size, kept=0, has_norm=False)[0]
