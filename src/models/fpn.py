"""Feature pyramid (Lin et al., 2017) with two further levels, as RetinaNet and TF's SSD use it."""

from collections.abc import Iterator, Sequence
from functools import partial

from mindspore import nn

from src.models.costs import LayerCost, Size, conv_cost, tensor_cost
from src.models.layers import ConvNorm, upsample2x


class FPN(nn.Cell):
    """Levels P3..P7 (strides 8..128) from C3..C5, all of `channels` channels.

    P3..P5 are a 1x1 convolution of their C level plus the level above at twice its size, smoothed
    by a 3x3 convolution. P6 and P7 are 3x3 convolutions of stride 2 over the ReLU of the level
    below, or P6 over C5; their sides round up.

    Args:
        in_channels: of C3, C4 and C5.
        p6_from: "p5" or "c5".
        fpn_relu: which of P6 and P7 are made of a level's ReLU: "both", "p6" for P7 alone, which
            is made of P6, as in torchvision, or "none" as in mmdetection. C5 has had a ReLU.
        fpn_padding: of P6 and P7, see `layers.conv`.
        fpn_norm: "batch", each convolution is followed by batch normalisation, or "none", it has a
            bias, as in torchvision and mmdetection.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        channels: int,
        p6_from: str = "p5",
        fpn_relu: str = "both",
        fpn_padding: str = "same",
        fpn_norm: str = "batch",
        norm_momentum: float = 0.9,
    ):
        super().__init__()
        layer = partial(ConvNorm, norm_momentum=norm_momentum, has_norm=fpn_norm == "batch")
        self.has_norm = fpn_norm == "batch"
        self.from_c5 = p6_from == "c5"
        self.relus = (fpn_relu == "both" and not self.from_c5, fpn_relu != "none")  # P6's and P7's
        below = (in_channels[-1] if self.from_c5 else channels, channels)  # P6 and P7
        self.laterals = nn.CellList([layer(c, channels, 1) for c in in_channels])
        self.outputs = nn.CellList([layer(channels, channels, 3) for _ in in_channels])
        self.extras = nn.CellList(
            [layer(c, channels, 3, stride=2, padding=fpn_padding) for c in below]
        )
        self.relu = nn.ReLU()

    def construct(self, c3, c4, c5):
        """C3 (N,c3,H/8,W/8) .. C5 -> P3 (N,C,H/8,W/8) .. P7 (N,C,ceil(H/128),ceil(W/128))."""
        m5 = self.laterals[2](c5)
        m4 = self.laterals[1](c4) + upsample2x(m5)
        m3 = self.laterals[0](c3) + upsample2x(m4)
        p5 = self.outputs[2](m5)
        below = c5 if self.from_c5 else p5
        p6 = self.extras[0](self.relu(below) if self.relus[0] else below)
        p7 = self.extras[1](self.relu(p6) if self.relus[1] else p6)
        return self.outputs[0](m3), self.outputs[1](m4), p5, p6, p7

    def costs(self, sizes: Sequence[Size]) -> Iterator[LayerCost]:
        """Costs of the layers on C3..C5 of these sizes.

        A level and the sum before it are kept as inputs of convolutions; C5 is kept anyway.
        """
        cost = partial(conv_cost, kept=1, has_norm=self.has_norm)
        for lateral, output, size in zip(self.laterals, self.outputs, sizes):
            yield cost(lateral.conv, size)[0]
            yield cost(output.conv, size)[0]
        size = sizes[-1]
        for extra, has_relu in zip(self.extras, self.relus):
            if has_relu:
                yield tensor_cost(extra.conv.in_channels, size)  # ReLU of the level below
            found, size = cost(extra.conv, size)
            yield found
