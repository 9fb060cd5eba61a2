"""ResNet backbones (He et al., 2016, with the stride on the 3x3 convolution: "v1.5").

Parameters carry MindSpore's names (`conv1.weight`, `layer1.0.down_sample_layer.0.weight`, ...),
so its published checkpoints load without renaming.
"""

from collections.abc import Iterator, Sequence

from mindspore import nn, ops

from src.detection.anchors import level_shapes
from src.models.backbone import Backbone
from src.models.costs import PLAIN, RELU, LayerCost, Size, conv_cost, tensor_cost
from src.models.layers import conv, norm

STAGE_CHANNELS = (64, 128, 256, 512)  # inner width of layer1..layer4


class ResidualBlock(nn.Cell):
    """A block whose convolutions are `conv1`, `conv2`, ..., beside `down_sample_layer`."""

    def costs(self, size: Size) -> tuple[list[LayerCost], Size]:
        """Costs of the layers on an input of (height, width), and the size of the output."""
        found, side = [], size
        for cell in self.name_cells().values():
            if isinstance(cell, nn.Conv2d):
                cost, side = conv_cost(cell, side, kept=RELU)
                found.append(cost)
        if isinstance(self.down_sample_layer, nn.SequentialCell):
            found.append(conv_cost(self.down_sample_layer[0], size, kept=PLAIN)[0])
        return found, side


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions: the block of ResNet-18 and ResNet-34."""

    expansion = 1

    def __init__(self, in_channels, channels, *, stride, padding, norm_momentum):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = conv(in_channels, channels, 3, stride=stride, padding=padding)
        self.bn1 = norm(channels, norm_momentum)
        self.conv2 = conv(channels, out_channels, 3, padding=padding)
        self.bn2 = norm(out_channels, norm_momentum)
        self.down_sample_layer = shortcut(in_channels, out_channels, stride, norm_momentum)
        self.relu = nn.ReLU()

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def construct(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.down_sample_layer(x))


class BottleneckBlock(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions: the block of ResNet-50 and deeper."""

    expansion = 4

    def __init__(self, in_channels, channels, *, stride, padding, norm_momentum):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = norm(channels, norm_momentum)
        self.conv2 = conv(channels, channels, 3, stride=stride, padding=padding)
        self.bn2 = norm(channels, norm_momentum)
        self.conv3 = conv(channels, out_channels, 1)
        self.bn3 = norm(out_channels, norm_momentum)
        self.down_sample_layer = shortcut(in_channels, out_channels, stride, norm_momentum)
        self.relu = nn.ReLU()

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def construct(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.down_sample_layer(x))


def shortcut(in_channels: int, out_channels: int, stride: int, norm_momentum: float) -> nn.Cell:
    """The block's other branch: identity, or a 1x1 projection where the shape changes."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    projection = conv(in_channels, out_channels, 1, stride=stride)
    return nn.SequentialCell([projection, norm(out_channels, norm_momentum)])


class MaxPool3x3(nn.Cell):
    """3x3 max pooling of stride 2, padded like the convolutions around it."""

    def __init__(self, padding: str):
        super().__init__()
        self.symmetric = padding == "symmetric"
        self.pool = nn.MaxPool2d(3, stride=2, pad_mode="valid" if self.symmetric else "same")

    def construct(self, x):
        if self.symmetric:
            # repeating the outer pixels changes no maximum; `ops.pad` has no ONNX counterpart
            x = ops.concat([x[:, :, :1], x, x[:, :, -1:]], axis=2)
            x = ops.concat([x[..., :1], x, x[..., -1:]], axis=3)
        return self.pool(x)


class ResNet(Backbone):
    """ResNet without its classifier; layer2, layer3 and layer4 give C3, C4 and C5.

    Args:
        block: BasicBlock or BottleneckBlock.
        depths: blocks in each of the four stages.
        padding: "same" (MindSpore's checkpoints), "symmetric" (torchvision's), or "mixed"
            (mindcv's).
    """

    paddings = ("same", "symmetric", "mixed")

    def __init__(self, *, block: type, depths: Sequence[int], padding: str, norm_momentum: float):
        super().__init__(padding)
        pool_padding = "symmetric" if padding == "symmetric" else "same"
        padding = "symmetric" if padding == "mixed" else padding
        keys = {"padding": padding, "norm_momentum": norm_momentum}
        self.conv1 = conv(3, STAGE_CHANNELS[0], 7, stride=2, padding=padding)
        self.bn1 = norm(STAGE_CHANNELS[0], norm_momentum)
        self.relu = nn.ReLU()
        self.maxpool = MaxPool3x3(pool_padding)
        stages = []
        in_channels = STAGE_CHANNELS[0]
        for stage, (channels, depth) in enumerate(zip(STAGE_CHANNELS, depths)):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(in_channels, channels, stride=stride, **keys))
                in_channels = channels * block.expansion
            stages.append(nn.SequentialCell(blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.out_channels = tuple(c * block.expansion for c in STAGE_CHANNELS[1:])

    def stages(self, count: int) -> list[nn.Cell]:
        layers = [self.layer1, self.layer2, self.layer3, self.layer4][:count]
        return [self.conv1, self.bn1, *layers] if count else []

    def costs(self, size: Size) -> Iterator[LayerCost]:
        stem, size = conv_cost(self.conv1, size, kept=RELU)
        yield stem
        [size] = level_shapes(size, [2])
        yield tensor_cost(self.conv1.out_channels, size)  # of the pooling
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                found, size = block.costs(size)
                yield from found

    def construct(self, x):
        """See `Backbone`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c3, c4, c5


VARIANTS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (BottleneckBlock, (3, 4, 6, 3)),
    "resnet101": (BottleneckBlock, (3, 4, 23, 3)),
}


def resnet(name: str, *, padding: str = "same", norm_momentum: float = 0.9) -> ResNet:
    """The backbone called `name` in VARIANTS."""
    block, depths = VARIANTS[name]
    return ResNet(block=block, depths=depths, padding=padding, norm_momentum=norm_momentum)
