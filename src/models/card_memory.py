"""Whether a card has the memory for an update: an estimate, before minutes of compiling.

At its peak, where the backward pass begins, an update holds what the forward pass keeps for it:

- of a norm its input, the output of a convolution, in float32 whatever the precision;
- of a convolution its input; of a ReLU its output, which is the next convolution's input; of a
  ReLU6 its input as well;
- LOSS_TENSORS tensors of the logits' size, in float32 whatever the precision.

That is within 4 % of the tensors alive in the graphs that MindSpore 2.10 compiles for a GPU (17.0
GB in float32, 13.6 GB in float16, for 16 images of 640 px). Added are the weights with what belongs
to each, and OVERHEAD for what is not counted. Frozen layers are counted as if they were trained.

Measured on one H200 with 16 images of 640 px, ResNet-50 and momentum, without averages: the peak of
MindSpore's pool, which holds cuDNN's workspaces but not CUDA's context, was 17.93 GB in float32, of
which 17.42 are counted here. In float16 it was 11.54 GB with norms in float16, of which 10.25 were
counted; float16 with norms in float32 was not measured.
"""

from collections.abc import Mapping
from typing import Any

import mindspore as ms

from src.detection.anchors import level_shapes
from src.models.costs import Size
from src.models.ssd import SSD

FLOAT32, FLOAT16 = 4, 2  # bytes
GIGA = 1e9
LOSS_TENSORS = 8  # six kept for the backward pass of the focal loss, two being computed
# bytes: 0.5 and 1.3 GB that an H200's pool held beyond what is counted, for workspaces and gaps;
# and 1 GB for CUDA's context and kernels, which is a guess
OVERHEAD = {"float32": 1.5e9, "float16": 2.3e9}
STATES = {"momentum": 1, "adamw": 2}  # numbers that an optimizer keeps of each weight


def estimate_training_memory(
    network: SSD,
    *,
    batch_size: int,
    image_size: Size,
    precision: str = "float32",
    optimizer: str = "momentum",
    averages: bool = False,
    accumulate: int = 1,
) -> dict[str, float]:
    """Bytes of a card that an update takes at its peak, by part; their sum is the whole.

    Args:
        batch_size: images that go through the network at once.
        image_size: (height, width) in pixels.
        averages: whether there are moving averages of the weights.
        accumulate: batches to an update; from 2 on their gradients are added up.
    """
    bytes_each = FLOAT16 if precision == "float16" else FLOAT32
    costs = network.costs(image_size)
    costs["heads"] = costs.pop("box_head") + costs.pop("class_head")
    found = {
        name: batch_size * sum(bytes_each * x.kept + FLOAT32 * x.normed for x in layers)
        for name, layers in costs.items()
    }
    cells = sum(height * width for height, width in level_shapes(image_size))
    logits = batch_size * cells * network.class_head.predictor.out_channels
    found["loss"] = FLOAT32 * LOSS_TENSORS * logits
    statistics = (".moving_mean", ".moving_variance")  # which have no gradient
    weights = sum(p.size for p in network.get_parameters() if not p.name.endswith(statistics))
    copies = 2 + STATES[optimizer] + averages + (accumulate > 1)  # weights and gradients
    cast = weights * FLOAT16 if precision == "float16" else 0
    found["weights"] = FLOAT32 * weights * copies + cast
    found["overhead"] = OVERHEAD[precision]
    return found


def advice(card: int | None, network: SSD, **keys) -> str:
    """A warning in a line if a card is too small for an update, else an empty text.

    Args:
        card: its memory in bytes; None if it is not known.
        keys: of `estimate_training_memory`.
    """
    if card is None:
        return ""
    needed = sum(estimate_training_memory(network, **keys).values())
    if needed <= card:
        return ""
    height, width = keys["image_size"]
    return (
        f"warning: {keys['batch_size']} images of {height} x {width} in {keys['precision']} take "
        f"about {needed / GIGA:.1f} GB by estimate, and the card has {card / GIGA:.1f} GB, so it "
        f"may run out of memory; {smaller_update(card, network, **keys)}"
    )


def smaller_update(card: int, network: SSD, **keys) -> str:
    """Flags of an update of as many images that fits, or what else to change."""
    batch, accumulate = keys.pop("batch_size"), keys.pop("accumulate", 1)
    while batch % 2 == 0:
        batch, accumulate = batch // 2, accumulate * 2
        needed = estimate_training_memory(network, batch_size=batch, accumulate=accumulate, **keys)
        if sum(needed.values()) <= card:
            return (
                f"--batch_size={batch} --accumulate={accumulate} fits, "
                "with as many images to an update"
            )
    return "use a smaller --batch_size or --image_size, or --precision=float16"


def memory_of_card(target: str, device_id: int) -> int | None:
    """Bytes of a card's memory; None on CPU, and where MindSpore does not know."""
    if target == "CPU":
        return None
    try:
        properties = ms.hal.get_device_properties(device_id, target)
    except (AttributeError, RuntimeError, ValueError):
        return None
    return getattr(properties, "total_memory", 0) or None


def options_of(cfg: Mapping) -> dict[str, Any]:
    """The arguments of `estimate_training_memory` that a configuration gives, but the network."""
    keys = ("batch_size", "accumulate", "image_size", "precision", "optimizer")
    return {**{key: cfg[key] for key in keys}, "averages": cfg["ema_decay"] > 0}


def memory_warning(cfg: Mapping, network: SSD) -> str:
    """`advice` for a configuration and its network, on the selected card."""
    card = memory_of_card(cfg["device_target"], ms.get_context("device_id"))
    return advice(card, network, **options_of(cfg))
