"""Whether a card has the memory for an update: an estimate, told before minutes of compiling.

At its peak, where the backward pass begins, an update holds what the forward pass left for it:

- of a norm its input, the output of a convolution, in float32 whatever the precision;
- of a convolution its input; of a ReLU its output, which is the next convolution's input; of a
  ReLU6 its input as well;
- LOSS_TENSORS tensors of the logits' size, in float32 whatever the precision.

Added up over the layers that is within 4 % of the tensors alive in the graphs that MindSpore 2.10
compiles for a GPU (17.0 GB in float32, 13.6 GB in float16, for 16 images of 640 px). To this come
the weights with what belongs to each, and OVERHEAD for what is not counted. Frozen layers are
counted as if they were trained.

Measured on one H200 with 16 images of 640 px, ResNet-50 and momentum, without averages: the peak of
MindSpore's pool was 17.93 GB in float32, of which 17.42 are counted here. The pool holds cuDNN's
workspaces, but not CUDA's context. In float16 it was 11.54 GB with norms in float16, of which 10.25
were counted; float16 with norms in float32 was not measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import mindspore as ms

from src.detection.anchors import STRIDES
from src.models.resnet import STAGE_CHANNELS, VARIANTS

FLOAT32, FLOAT16 = 4, 2  # bytes
GIGA = 1e9
LOSS_TENSORS = 8  # six kept for the backward pass of the focal loss, two that are being worked on
# bytes: 0.5 and 1.3 GB that an H200's pool held beyond what is counted, workspaces and gaps; and
# 1 GB for CUDA's context and kernels, which is a guess
OVERHEAD = {"float32": 1.5e9, "float16": 2.3e9}
# tensors kept of a convolution with its norm, besides the norm's input: none, the activation's
# output, or its input and output
PLAIN, RELU, RELU6 = 0, 1, 2
CONFIG_KEYS = (
    "batch_size",
    "accumulate",
    "image_size",
    "precision",
    "backbone",
    "fpn_channels",
    "head_depth",
    "optimizer",
)
STATES = {"momentum": 1, "adamw": 2}  # numbers that an optimizer keeps of each weight


@dataclass(frozen=True)
class Layer:
    """A convolution and its norm, on one size of input.

    Attributes:
        weights: trained numbers, the norm's or the bias included; 0 where they are another's.
        kept: numbers of an image that its backward pass needs, in the network's precision.
        normed: those that its norm's backward pass needs, in float32 whatever the precision.
    """

    weights: int
    kept: int
    normed: int = 0


def conv_layer(inputs: int, channels: int, kernel: int, pixels: int, *, kept: int) -> Layer:
    """A convolution with a norm that leaves so many tensors of (channels, pixels) behind it."""
    weights = kernel**2 * inputs * channels + 2 * channels
    return Layer(weights, kept * channels * pixels, channels * pixels)


def halved(size: Sequence[int]) -> tuple[int, int]:
    """(height, width) behind a stride of 2."""
    return -(-size[0] // 2), -(-size[1] // 2)


def backbone_layers(backbone: str, image_size: Sequence[int]) -> Iterator[Layer]:
    """The layers of a ResNet, see `models.resnet`; a block's last output is that of its ReLU."""
    block, depths = VARIANTS[backbone]
    is_basic = block.expansion == 1
    size = halved(image_size)
    stem = STAGE_CHANNELS[0]
    yield Layer(0, 3 * image_size[0] * image_size[1])  # normalised pixels
    yield conv_layer(3, stem, 7, size[0] * size[1], kept=RELU)
    size = halved(size)
    yield Layer(0, stem * size[0] * size[1])  # max pooling
    inputs = stem
    for stage, (channels, depth) in enumerate(zip(STAGE_CHANNELS, depths)):
        for index in range(depth):
            before = size[0] * size[1]
            if stage > 0 and index == 0:
                size = halved(size)
            pixels, outputs = size[0] * size[1], channels * block.expansion
            if is_basic:
                yield conv_layer(inputs, channels, 3, pixels, kept=RELU)
            else:
                yield conv_layer(inputs, channels, 1, before, kept=RELU)
                yield conv_layer(channels, channels, 3, pixels, kept=RELU)
            yield conv_layer(channels, outputs, 3 if is_basic else 1, pixels, kept=RELU)
            if inputs != outputs or before != pixels:
                yield conv_layer(inputs, outputs, 1, pixels, kept=PLAIN)
            inputs = outputs


def pyramid_layers(inputs: Sequence[int], channels: int, pixels: Sequence[int]) -> Iterator[Layer]:
    """The layers of the FPN; a level's output and the sum before it are kept for convolutions.

    Args:
        inputs: channels of C3, C4 and C5.
        pixels: of P3..P7.
    """
    for count, own in zip(inputs, pixels):
        yield conv_layer(count, channels, 1, own, kept=1)
        yield conv_layer(channels, channels, 3, own, kept=1)
    for before, own in zip(pixels[2:], pixels[3:]):
        yield Layer(0, channels * before)  # ReLU of the level below
        yield conv_layer(channels, channels, 3, own, kept=1)


def head_layers(outputs: int, channels: int, depth: int, pixels: Sequence[int]) -> Iterator[Layer]:
    """The layers of a head: weights for all levels, norms for each.

    Args:
        outputs: channels of its predictor.
    """
    for _ in range(depth):
        yield Layer(9 * channels**2, 0)
        for own in pixels:
            yield Layer(2 * channels, RELU6 * channels * own, channels * own)
    yield Layer(9 * channels * outputs + outputs, 0)


def estimate_training_memory(
    *,
    batch_size: int,
    image_size: Sequence[int],
    precision: str = "float32",
    backbone: str = "resnet50",
    fpn_channels: int = 256,
    head_depth: int = 4,
    anchors_per_cell: int = 6,
    num_classes: int = 80,
    optimizer: str = "momentum",
    averages: bool = False,
    accumulate: int = 1,
) -> dict[str, float]:
    """Bytes of a card that an update takes at its peak, by part; their sum is the whole.

    Args:
        batch_size: images that go through the network at once.
        image_size: (height, width) in pixels.
        num_classes: foreground classes.
        averages: whether there are moving averages of the weights.
        accumulate: batches to an update; from 2 on their gradients are added up.
    """
    pixels = [-(-image_size[0] // s) * -(-image_size[1] // s) for s in STRIDES]
    width = VARIANTS[backbone][0].expansion
    parts = {
        "backbone": list(backbone_layers(backbone, image_size)),
        "fpn": list(pyramid_layers([width * c for c in STAGE_CHANNELS[1:]], fpn_channels, pixels)),
        "heads": [
            layer
            for outputs in (4, num_classes)
            for layer in head_layers(anchors_per_cell * outputs, fpn_channels, head_depth, pixels)
        ],
    }
    bytes_each = FLOAT16 if precision == "float16" else FLOAT32
    found = {
        name: batch_size * sum(bytes_each * x.kept + FLOAT32 * x.normed for x in layers)
        for name, layers in parts.items()
    }
    logits = batch_size * sum(pixels) * anchors_per_cell * num_classes
    found["loss"] = FLOAT32 * LOSS_TENSORS * logits
    weights = sum(layer.weights for layers in parts.values() for layer in layers)
    copies = 2 + STATES[optimizer] + averages + (accumulate > 1)  # weights and gradients
    cast = weights * FLOAT16 if precision == "float16" else 0
    found["weights"] = FLOAT32 * weights * copies + cast
    found["overhead"] = OVERHEAD[precision]
    return found


def advice(card: Optional[int], **keys) -> str:
    """A line about a card that is too small for an update; nothing where it is not.

    Args:
        card: its memory in bytes; None if it is not known.
        keys: of `estimate_training_memory`.
    """
    needed = sum(estimate_training_memory(**keys).values())
    if card is None or needed <= card:
        return ""
    height, width = keys["image_size"]
    return (
        f"warning: {keys['batch_size']} images of {height} x {width} in {keys['precision']} take "
        f"about {needed / GIGA:.1f} GB by estimate, and the card has {card / GIGA:.1f} GB, so it "
        f"may run out of memory; {way_on(card, **keys)}"
    )


def way_on(card: int, **keys) -> str:
    """The flags of an update of as many images that fits, if there is one."""
    batch, accumulate = keys.pop("batch_size"), keys.pop("accumulate", 1)
    while batch % 2 == 0:
        batch, accumulate = batch // 2, accumulate * 2
        needed = estimate_training_memory(batch_size=batch, accumulate=accumulate, **keys)
        if sum(needed.values()) <= card:
            return (
                f"--batch_size={batch} --accumulate={accumulate} fits, "
                "with as many images to an update"
            )
    return "use a smaller --batch_size or --image_size, or --precision=float16"


def memory_of_card(target: str, device_id: int) -> Optional[int]:
    """Bytes of a card's memory; None on CPU, and where MindSpore does not tell."""
    if target == "CPU":
        return None
    try:
        properties = ms.hal.get_device_properties(device_id, target)
    except (AttributeError, RuntimeError, ValueError):
        return None
    return getattr(properties, "total_memory", 0) or None


def options_of(cfg: Mapping, anchors_per_cell: int) -> dict[str, Any]:
    """The arguments of `estimate_training_memory` that a configuration gives."""
    return {
        **{key: cfg[key] for key in CONFIG_KEYS},
        "anchors_per_cell": anchors_per_cell,
        "num_classes": len(cfg["classes"]) - 1,
        "averages": cfg["ema_decay"] > 0,
    }


def memory_warning(cfg: Mapping, anchors_per_cell: int) -> str:
    """`advice` for a configuration, on the card that was selected."""
    if cfg["device_target"] == "CPU":
        return ""
    return advice(
        memory_of_card(cfg["device_target"], ms.get_context("device_id")),
        **options_of(cfg, anchors_per_cell),
    )
