"""The interface of a backbone."""

from collections.abc import Iterator

from mindspore import nn

from src.models.costs import LayerCost, Size
from src.runtime.errors import InputError


class Backbone(nn.Cell):
    """Image features at strides 8, 16 and 32: the levels C3, C4 and C5.

    To add one, write a subclass in a file of its own, enter a function that builds it in
    `backbones.BACKBONES`, and name it at `backbone` in config/default.yaml. A subclass has:

    - `construct(x)`: normalised images (N,3,H,W) float, H and W multiples of 32 -> C3
      (N,c3,H/8,W/8), C4 (N,c4,H/16,W/16), C5 (N,c5,H/32,W/32);
    - `out_channels`: (c3, c4, c5);
    - `stages(count)` and `costs(size)`, see below;
    - `paddings`: values of the key `padding` that it supports, "same" among them.

    Its convolutions and norms are `layers.conv` and `layers.norm`. A cell defines a norm right
    after the convolution whose output it takes, as `layers.ConvNorm` does: folding goes by that
    order. Initialisation (`ssd.initialize`) draws all convolutions from He's fan-out normal, in the
    order of definition. A residual block has an attribute `last_norm`, the norm before the
    addition, which starts with a small scale. Checkpoints hold parameters by attribute names.

    Args:
        padding: how convolutions and pooling pad where stride > 1: "same" as TensorFlow and
            MindSpore do, "symmetric" as PyTorch does, "mixed" symmetric but for the pooling.

    Raises:
        InputError: `padding` is not one of `paddings`.
    """

    paddings: tuple[str, ...] = ("same", "symmetric")
    out_channels: tuple[int, int, int]

    def __init__(self, padding: str):
        super().__init__()
        if padding not in self.paddings:
            raise InputError(
                f"padding is {padding!r}; {type(self).__name__} supports {', '.join(self.paddings)}"
            )

    def stages(self, count: int) -> list[nn.Cell]:
        """The cells of the first `count` of four stages, 0..4, for freezing.

        The first ends at stride 4 and includes the stem; the others end at C3, C4 and C5.
        """
        raise NotImplementedError

    def costs(self, size: Size) -> Iterator[LayerCost]:
        """The cost of each layer for an image of (height, width), with `costs.conv_cost`."""
        raise NotImplementedError
