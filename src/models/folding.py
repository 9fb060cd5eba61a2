"""Batch norms multiplied into the convolutions before them, for a network that is only used."""

import mindspore as ms
import numpy as np
from mindspore import nn

from src.models.heads import Head, SharedHead
from src.models.ssd import SSD

# attributes of our cells that hold a convolution, and the norm that follows it
PAIRS = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "conv": "norm"}


class FoldedHead(Head):
    """A SharedHead without norms: each level gets convolutions of its own, times the level's norms.

    Args:
        head: whose predictor is used as it is.
    """

    def __init__(self, head: SharedHead):
        super().__init__(head.outputs)
        self.towers = nn.CellList(
            [
                nn.CellList([folded(conv, norm) for conv, norm in zip(head.convs, norms)])
                for norms in head.norms
            ]
        )
        self.predictor = head.predictor

    def tower(self, level, x):
        for conv in self.towers[level]:
            x = self.relu6(conv(x))
        return x


def fold_norms(network: SSD) -> SSD:
    """Takes all batch norms out of the network, in place, and lets its outputs be what they were.

    The convolutions get biases. Heads grow, since their convolutions are shared and their norms
    are not. Only for a network that has not run yet: a compiled graph stays what it was.
    """
    for _, cell in list(network.cells_and_names()):
        for conv, norm in PAIRS.items():
            if isinstance(getattr(cell, norm, None), nn.BatchNorm2d):
                setattr(cell, conv, folded(getattr(cell, conv), getattr(cell, norm)))
                setattr(cell, norm, nn.Identity())
        if isinstance(cell, nn.SequentialCell) and isinstance(cell[-1], nn.BatchNorm2d):
            cell[0], cell[1] = folded(cell[0], cell[1]), nn.Identity()
    network.box_head = FoldedHead(network.box_head)
    network.class_head = FoldedHead(network.class_head)
    for name, parameter in network.parameters_and_names():
        parameter.name = name  # new ones are named without what they lie in
    return network.set_train(False)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that does what the two do one after the other, in inference."""
    gamma, beta, mean, variance = (
        parameter.asnumpy().astype(np.float64)
        for parameter in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.eps)
    weight = conv.weight.asnumpy() * scale[:, None, None, None]
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        pad_mode=conv.pad_mode,
        padding=conv.padding,
        has_bias=True,
        weight_init=ms.Tensor(weight.astype(np.float32)),
        bias_init=ms.Tensor((beta - mean * scale).astype(np.float32)),
    )
