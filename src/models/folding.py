"""Batch norms multiplied into the convolutions before them, for inference."""

from collections.abc import Sequence
from itertools import pairwise

import mindspore as ms
import numpy as np
from mindspore import nn

from src.models.heads import Head, SharedHead
from src.models.layers import has_statistics
from src.models.ssd import SSD

MIN_SHARE = 1e-6  # least scale of the finest level, as a share of the channel's largest


class FoldedHead(Head):
    """A SharedHead without norms, whose levels still share their convolutions.

    The convolutions are multiplied by the finest level's norms. On the other levels, a third of its
    size together, a scale and a shift per channel make up for the difference: nothing is copied.
    """

    def __init__(self, head: SharedHead):
        super().__init__(head.outputs, head.scales, head.activation)
        layers = [shared(*pair) for pair in zip(head.convs, zip(*head.norms, strict=True))]
        towers = [[levels[level] for levels in layers] for level in range(len(head.norms))]
        self.towers = nn.CellList([nn.CellList(tower) for tower in towers])
        self.predictor, self.centerness = head.predictor, head.centerness

    def tower(self, level, x):
        for layer in self.towers[level]:
            x = self.activation(layer(x))
        return x


def fold_norms(network: SSD) -> SSD:
    """Removes all batch norms from the network, in place, with the same outputs in inference.

    The convolutions get biases; group norms stay. Only for a network that has not run yet: a
    compiled graph does not change.

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


def shared(conv: nn.Conv2d, norms: Sequence[nn.BatchNorm2d]) -> list[nn.Cell]:
    """For each level a cell that equals the convolution and the level's norm, in inference.

    All share the weights, multiplied by the first level's scales unless one of these is about 0. A
    level with other scales corrects them by a depthwise 1x1 convolution; ONNX Runtime would fold a
    multiplication into copies of the weights.
    """
    scales, shifts = (np.stack(rows) for rows in zip(*map(affine, norms), strict=True))  # (L,C)
    base = scales[0]
    if (np.abs(base) <= MIN_SHARE * np.abs(scales).max(axis=0)).any():
        base = np.ones_like(base)
    weight = ms.Parameter(ms.Tensor((conv.weight.asnumpy() * per_filter(base)).astype(np.float32)))
    cells = []
    for scale, shift in zip(scales / base, shifts, strict=True):
        if (scale == 1).all():
            cells.append(like(conv, weight, shift))
        else:
            channel = nn.Conv2d(len(scale), len(scale), 1, group=len(scale), has_bias=True)
            channel.weight.set_data(ms.Tensor(per_filter(scale).astype(np.float32)))
            channel.bias.set_data(ms.Tensor(shift.astype(np.float32)))
            cells.append(nn.SequentialCell([like(conv, weight, None), channel]))
    return cells


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that equals the two in sequence, in inference."""
    scale, shift = affine(norm)
    weight = (conv.weight.asnumpy() * per_filter(scale)).astype(np.float32)
    bias = conv.bias.asnumpy() if conv.has_bias else 0
    return like(conv, ms.Parameter(ms.Tensor(weight)), shift + bias * scale)


def affine(norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift (C,) of a norm in inference, in float64."""
    gamma, beta, mean, variance = (
        parameter.asnumpy().astype(np.float64)
        for parameter in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.eps)
    return scale, beta - mean * scale


def per_filter(values: np.ndarray) -> np.ndarray:
    """Values (C,) as (C,1,1,1), for the filters of a convolution."""
    return values[:, None, None, None]


def like(conv: nn.Conv2d, weight: ms.Parameter, bias: np.ndarray | None) -> nn.Conv2d:
    """The same convolution with this weight, which is not copied, and this bias, or none."""
    other = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        pad_mode=conv.pad_mode,
        padding=conv.padding,
        dilation=conv.dilation,
        group=conv.group,
        has_bias=bias is not None,
        weight_init="zeros",
        bias_init="zeros" if bias is None else ms.Tensor(bias.astype(np.float32)),
    )
    other.weight = weight
    return other
