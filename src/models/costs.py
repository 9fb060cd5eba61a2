"""What layers cost: multiply-adds, and the tensors that they keep for the backward pass."""

from dataclasses import dataclass

from mindspore import nn

Size = tuple[int, int]  # (height, width)

# tensors of its output's size that a convolution with its norm keeps, besides the norm's input:
# none, the activation's output, or the activation's input and output
PLAIN, RELU, RELU6 = 0, 1, 2


@dataclass(frozen=True)
class LayerCost:
    """What a layer takes for one image.

    Attributes:
        multiply_adds: of its convolution in a forward pass, the bias left out.
        kept: numbers that its backward pass needs, in the network's precision.
        normed: numbers that its norm's backward pass needs, in float32 whatever the precision.
    """

    multiply_adds: int = 0
    kept: int = 0
    normed: int = 0


def conv_cost(
    conv: nn.Conv2d, size: Size, *, kept: int, has_norm: bool = True
) -> tuple[LayerCost, Size]:
    """Cost of a convolution on an input of (height, width), and the size of its output.

    The output's side is ceil(side / stride), as under all paddings of `models.layers.conv`.

    Args:
        kept: tensors of the output's size, one of PLAIN, RELU, RELU6.
        has_norm: whether a norm follows.
    """
    height, width = (-(-side // stride) for side, stride in zip(size, conv.stride))
    outputs = conv.out_channels * height * width
    multiply_adds = conv.weight.size * height * width
    return LayerCost(multiply_adds, kept * outputs, outputs * has_norm), (height, width)


def tensor_cost(channels: int, size: Size) -> LayerCost:
    """Cost of one more tensor (channels, height, width) that is kept, after pooling say."""
    return LayerCost(kept=channels * size[0] * size[1])
