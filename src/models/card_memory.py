"""Whether a card has the memory for an update: an estimate, before minutes of compiling.

At its peak, where the backward pass begins, an update holds what the forward pass keeps for it:

- of a norm its input, the output of a convolution, in float32 whatever the precision;
- of a convolution its input; of a ReLU its output, which is the next convolution's input; of a
  ReLU6 its input as well;
- LOSS_TENSORS tensors of the logits' size, in float32 whatever the precision.

That is within 4 % of the tensors alive in the graphs that MindSpore 2.10 compiles for a GPU (17.0
GB in float32, 13.6 GB in float16, for 16 images of 640 px). Added are the weights with what belongs
to each, and an overhead for what is not counted. Frozen layers are counted as if they were trained.

The overhead is by what was measured with ResNet-50 at 640 px (docs/measured.md). MindSpore's pool
holds cuDNN's workspaces and gaps too: 2 to 4 % of the tensors that an image keeps, on an H100 and
an H200. It grows by whole GiB. CUDA's context and the kernels' code are outside of it.
"""

import math
import os
from collections.abc import Mapping, Sequence

import mindspore as ms

from src.detection.anchors import level_shapes
from src.models.ssd import SSD
from src.runtime.plugins.cuda import ask_smi
from src.runtime.plugins.nvidia_cards import Card, read_cards, visible_cards

FLOAT32, FLOAT16 = 4, 2  # bytes
LOSS_TENSORS = 8  # six kept for the backward pass of the focal loss, two being computed
WORKSPACES = 0.04  # of the tensors that an image keeps: 0.02 to 0.04 were measured
BLOCK = 1 << 30  # bytes by which MindSpore's pool grows
OUTSIDE = 1224 << 20  # bytes outside of the pool, of an H100
SAME_CARD = 0.05  # share of a card's memory by which two reports of it may differ
STATES = {"momentum": 1, "adamw": 2}  # numbers that an optimizer keeps of each weight


def memory_by_part(cfg: Mapping, network: SSD) -> dict[str, float]:
    """Bytes of a card that the configured update takes at its peak, by part of the network."""
    bytes_each = FLOAT16 if cfg["precision"] == "float16" else FLOAT32
    costs = network.costs(cfg["image_size"])
    costs["heads"] = costs.pop("box_head") + costs.pop("class_head")
    found = {
        name: cfg["batch_size"] * sum(bytes_each * x.kept + FLOAT32 * x.normed for x in layers)
        for name, layers in costs.items()
    }
    cells = sum(height * width for height, width in level_shapes(cfg["image_size"]))
    logits = cfg["batch_size"] * cells * network.class_head.predictor.out_channels
    found["loss"] = FLOAT32 * LOSS_TENSORS * logits
    statistics = (".moving_mean", ".moving_variance")  # which have no gradient
    weights = sum(p.size for p in network.get_parameters() if not p.name.endswith(statistics))
    kept = sum(found.values())
    copies = 2 + STATES[cfg["optimizer"]]  # weights, gradients, state
    copies += (cfg["ema_decay"] > 0) + (cfg["accumulate"] > 1)  # averages, sums of gradients
    cast = weights * FLOAT16 if cfg["precision"] == "float16" else 0
    found["weights"] = FLOAT32 * weights * copies + cast
    counted = kept + found["weights"]
    pool = math.ceil((counted + WORKSPACES * kept) / BLOCK) * BLOCK
    found["overhead"] = pool - counted + OUTSIDE
    return found


def update_memory(cfg: Mapping, network: SSD) -> float:
    """Bytes of a card that the configured update takes at its peak."""
    return sum(memory_by_part(cfg, network).values())


def memory_of_card(target: str, device_id: int) -> int | None:
    """Bytes of a card's memory; None on CPU, and where MindSpore does not know."""
    if target == "CPU":
        return None
    try:
        properties = ms.hal.get_device_properties(device_id, target)
    except (AttributeError, RuntimeError, ValueError):
        return None
    return getattr(properties, "total_memory", 0) or None


def free_memory(target: str, device_id: int) -> int | None:
    """Bytes of a card that no process uses; all of them where that is not known.

    Call it before this process uses the card. None on CPU, and where MindSpore does not know.
    """
    smi = ask_smi(os.environ) if target == "GPU" else None  # first: what follows uses the card
    total = memory_of_card(target, device_id)
    if smi is None or total is None:
        return total
    return free_of(visible_cards(read_cards(smi.text), os.environ), device_id, total)


def free_of(cards: Sequence[Card], device_id: int, total: int) -> int:
    """Free bytes of the card among those that nvidia-smi lists; `total` if it is not among them."""
    if device_id >= len(cards):
        return total
    card = cards[device_id]
    # CUDA may number the cards in another order, and a part of a card is smaller
    if abs((card.memory << 20) - total) > SAME_CARD * total:
        return total
    return max(total - (card.used << 20), 0)
