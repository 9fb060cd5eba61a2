"""Batch norms multiplied into the convolutions before them, for inference."""

from itertools import pairwise

import mindspore as ms
import numpy as np
from mindspore import nn

from src.models.heads import Head, SharedHead
from src.models.layers import has_statistics
from src.models.ssd import SSD


class FoldedHead(Head):
    """A SharedHead without norms: each level has its own convolutions, times the level's norms."""

    def __init__(self, head: SharedHead):
        super().__init__(head.outputs, head.scales, head.activation)
        towers = [[folded(*pair) for pair in zip(head.convs, norms)] for norms in head.norms]
        self.towers = nn.CellList([nn.CellList(tower) for tower in towers])
        self.predictor, self.centerness = head.predictor, head.centerness

    def tower(self, level, x):
        for conv in self.towers[level]:
            x = self.activation(conv(x))
        return x


def fold_norms(network: SSD) -> SSD:
    """Removes all batch norms from the network, in place, with the same outputs in inference.

    The convolutions get biases. Heads with batch norms grow, since their convolutions are shared
    and their norms are not; group norms stay. Only for a network that has not run yet: a compiled
    graph does not change.

    Raises:
        ValueError: a norm that does not follow a convolution.
    """
    if not network.box_head.shares_norms:
        network.box_head = FoldedHead(network.box_head)
        network.class_head = FoldedHead(network.class_head)
    for _, cell in list(network.cells_and_names()):
        for (conv_name, conv), (norm_name, norm) in pairwise(cell.name_cells().items()):
            if isinstance(conv, nn.Conv2d) and has_statistics(norm):
                replace(cell, conv_name, folded(conv, norm))
                replace(cell, norm_name, nn.Identity())
    left = [name for name, cell in network.cells_and_names() if has_statistics(cell)]
    if left:
        raise ValueError(f"{left[0]}: a norm that is not defined right after a convolution")
    for name, parameter in network.parameters_and_names():
        parameter.name = name  # new ones have names without the path to their cell
    return network.set_train(False)


def replace(parent: nn.Cell, name: str, cell: nn.Cell) -> None:
    """Puts a cell in the place of a parent's own."""
    if isinstance(parent, nn.SequentialCell):
        parent[int(name)] = cell
    else:
        setattr(parent, name, cell)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that equals the two in sequence, in inference."""
    gamma, beta, mean, variance = (
        parameter.asnumpy().astype(np.float64)
        for parameter in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.eps)
    weight = conv.weight.asnumpy() * scale[:, None, None, None]
    bias = conv.bias.asnumpy() if conv.has_bias else 0
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        pad_mode=conv.pad_mode,
        padding=conv.padding,
        dilation=conv.dilation,
        group=conv.group,
        has_bias=True,
        weight_init=ms.Tensor(weight.astype(np.float32)),
        bias_init=ms.Tensor((beta + (bias - mean) * scale).astype(np.float32)),
    )
