"""Building blocks shared by the backbone, the pyramid and the heads."""

from collections.abc import Iterable

import mindspore as ms
from mindspore import nn, ops

from src.detection.box_coder import DistributionCoder

NORM_EPSILON = 1e-5  # one value for the whole network, torchvision's; MindSpore's ResNet50 had 1e-4
# of the group normalisation paper, whose layers have 256 channels
MAX_GROUPS, MIN_GROUP_CHANNELS = 32, 8


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: str = "same",
    bias: bool = False,
) -> nn.Conv2d:
    """Convolution whose output side is ceil(input side / stride) under both paddings.

    Args:
        padding: "same" pads as TensorFlow does (the odd pixel goes right and below), "symmetric"
            pads kernel // 2 on every side as PyTorch does. They differ only where stride > 1.

    Weights start at zero: `ssd.initialize` draws them.
    """
    if padding not in ("same", "symmetric"):
        raise ValueError(f"padding is {padding!r}; expected 'same' or 'symmetric'")
    mode = {"pad_mode": "same"}
    if padding == "symmetric" and kernel > 1:
        mode = {"pad_mode": "pad", "padding": kernel // 2}
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        has_bias=bias,
        weight_init="zeros",
        bias_init="zeros",
        **mode,
    )


def norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    """Batch normalisation; `momentum` is the share of the old moving average that is kept."""
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=momentum)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He, 2018), which can be exported to ONNX.

    In training it is MindSpore's kernel. In inference it is written out, since MindSpore exports no
    such kernel to ONNX; the gradients of that would take three times as long.
    """

    def construct(self, x):
        if self.training:
            return ops.group_norm(x, self.num_groups, self.gamma, self.beta, self.eps)
        n, c, h, w = x.shape
        groups = x.reshape(n, self.num_groups, -1)  # (N,G,C/G*H*W)
        offsets = groups - groups.mean(axis=2, keep_dims=True)
        variance = (offsets * offsets).mean(axis=2, keep_dims=True)
        x = (offsets / ops.sqrt(variance + self.eps)).reshape(n, c, h, w)
        return x * self.gamma.reshape(1, c, 1, 1) + self.beta.reshape(1, c, 1, 1)


def group_norm(channels: int) -> GroupNorm:
    """Group normalisation with MAX_GROUPS groups, or fewer of equal size.

    A group has at least MIN_GROUP_CHANNELS channels, where there are as many: on a level of one
    cell a group of one channel would always be normalised to zero.
    """
    most = min(MAX_GROUPS, max(channels // MIN_GROUP_CHANNELS, 1))
    groups = max(count for count in range(1, most + 1) if channels % count == 0)
    return GroupNorm(groups, channels, eps=NORM_EPSILON)


def is_norm(cell: nn.Cell) -> bool:
    """Whether a cell normalises: float32 in every network, and what `freeze_norms` freezes."""
    return isinstance(cell, (nn.BatchNorm2d, nn.GroupNorm))


def has_statistics(cell: nn.Cell) -> bool:
    """Whether a norm keeps moving averages, so it is a constant scale and shift in inference."""
    return isinstance(cell, nn.BatchNorm2d)


class ConvNorm(nn.Cell):
    """Convolution, batch normalisation (or a bias) and, if given, an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: str = "same",
        norm_momentum: float,
        has_norm: bool = True,
        activation: nn.Cell | None = None,
    ):
        super().__init__()
        keys = {"stride": stride, "padding": padding, "bias": not has_norm}
        self.conv = conv(in_channels, out_channels, kernel, **keys)
        self.norm = norm(out_channels, norm_momentum) if has_norm else nn.Identity()
        self.activation = activation

    def construct(self, x):
        x = self.norm(self.conv(x))
        return x if self.activation is None else self.activation(x)


def upsample2x(x):
    """Nearest-neighbour upsampling of (N,C,H,W) to (N,C,2H,2W).

    Written as reshape and tile because `ops.interpolate` cannot be exported to ONNX.
    """
    n, c, h, w = x.shape
    x = ops.tile(x.reshape(n, c, h, 1, w, 1), (1, 1, 1, 2, 1, 2))  # (N,C,H,2,W,2)
    return x.reshape(n, c, 2 * h, 2 * w)


def freeze(cells: Iterable[nn.Cell], *, norms_only: bool = False) -> None:
    """Excludes parameters of the cells, or with `norms_only` of the norms in them, from training.

    Frozen batch norms use and keep their moving averages.
    """
    for cell in cells:
        for _, inner in cell.cells_and_names():
            if has_statistics(inner):
                inner.use_batch_statistics = False
            if is_norm(inner) or not norms_only:
                for parameter in inner.get_parameters(expand=False):
                    parameter.requires_grad = False


def statistics(network: nn.Cell) -> list[ms.Parameter]:
    """Moving means and variances of the batch norms that are not frozen."""
    norms = [cell for _, cell in network.cells_and_names() if has_statistics(cell)]
    live = [cell for cell in norms if cell.use_batch_statistics is not False]
    return [p for cell in live for p in (cell.moving_mean, cell.moving_variance)]


def use_float16(network: nn.Cell) -> None:
    """Lets a network calculate in float16; norms, stored weights and boxes stay in float32.

    Only cells without inner cells are set: what others compute follows from their inputs, and
    `to_float` on them would also cast their constants, but not the tensors these are used with.

    MindSpore's GPU kernels take norms in float16 too, with fewer changes of layout, but on an H200
    with cuDNN 8.9 their backward pass gave gradients 8 to 50 times too large (docs/gpu.md).
    """
    for _, cell in network.cells_and_names():
        if is_norm(cell) or isinstance(cell, DistributionCoder):
            cell.to_float(ms.float32)
        elif not cell.cells():
            cell.to_float(ms.float16)
