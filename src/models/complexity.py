"""Parameters and multiply-adds of the detector, part by part."""

from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import nn

from src.models.ssd import SSD

Size = tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds of the convolutions in one forward pass."""

    parameters: int
    multiply_adds: int


def conv_cost(conv: nn.Conv2d, size: Size) -> tuple[int, Size]:
    """Multiply-adds of a convolution on an input of (height, width), and its output's size.

    Both paddings give an output side of ceil(side / stride).
    """
    stride = conv.stride[0] if isinstance(conv.stride, tuple) else conv.stride
    height, width = (-(-side // stride) for side in size)
    weights = 1
    for side in conv.weight.shape:
        weights *= side
    return weights * height * width, (height, width)


def backbone_cost(backbone: nn.Cell, size: Size) -> tuple[int, list[Size]]:
    """Multiply-adds of the ResNet, and the sizes of C3, C4 and C5."""
    total, size = conv_cost(backbone.conv1, size)
    size = (-(-size[0] // 2), -(-size[1] // 2))  # max pooling
    sizes = []
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for block in stage:
            block_input = size
            for name in ("conv1", "conv2", "conv3"):
                if hasattr(block, name):
                    cost, size = conv_cost(getattr(block, name), size)
                    total += cost
            if not isinstance(block.down_sample_layer, nn.Identity):
                total += conv_cost(block.down_sample_layer[0], block_input)[0]
        sizes.append(size)
    return total, sizes[1:]


def fpn_cost(fpn: nn.Cell, sizes: Sequence[Size]) -> tuple[int, list[Size]]:
    """Multiply-adds of the pyramid on C3..C5 of these sizes, and the sizes of P3..P7."""
    total = 0
    for lateral, output, size in zip(fpn.laterals, fpn.outputs, sizes):
        total += conv_cost(lateral.conv, size)[0] + conv_cost(output.conv, size)[0]
    levels = list(sizes)
    for extra in fpn.extras:
        cost, size = conv_cost(extra.conv, levels[-1])
        total += cost
        levels.append(size)
    return total, levels


def head_cost(head: nn.Cell, sizes: Sequence[Size]) -> int:
    """Multiply-adds of a head over all levels."""
    convs = [*head.convs, head.predictor]
    return sum(conv_cost(conv, size)[0] for size in sizes for conv in convs)


def count_costs(network: SSD, image_size: Size) -> dict[str, Cost]:
    """Costs of backbone, pyramid, box head, class head and their total, for one image.

    Convolutions alone are counted, without their biases: norms, activations and pooling take less
    than 1 % of the arithmetic.

    Args:
        image_size: (height, width) of the network's input in pixels.
    """
    backbone, sizes = backbone_cost(network.backbone, image_size)
    pyramid, levels = fpn_cost(network.fpn, sizes)
    multiply_adds = {
        "backbone": backbone,
        "fpn": pyramid,
        "box_head": head_cost(network.box_head, levels),
        "class_head": head_cost(network.class_head, levels),
    }
    costs = {
        part: Cost(sum(p.size for p in getattr(network, part).trainable_params()), count)
        for part, count in multiply_adds.items()
    }
    costs["total"] = Cost(
        sum(cost.parameters for cost in costs.values()),
        sum(cost.multiply_adds for cost in costs.values()),
    )
    return costs
