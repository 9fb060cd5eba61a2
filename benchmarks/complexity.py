"""Parameters and multiply-adds of the detector, part by part."""

from dataclasses import dataclass

from src.models.costs import Size
from src.models.ssd import SSD


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds of the convolutions in one forward pass."""

    parameters: int
    multiply_adds: int


def count_costs(network: SSD, image_size: Size) -> dict[str, Cost]:
    """Costs of backbone, pyramid, box head, class head and their total, for one image.

    Convolutions alone are counted, without their biases: norms, activations and pooling take less
    than 1 % of the arithmetic.

    Args:
        image_size: (height, width) of the network's input in pixels.
    """
    costs = {
        part: Cost(
            sum(p.size for p in getattr(network, part).trainable_params()),
            sum(layer.multiply_adds for layer in layers),
        )
        for part, layers in network.costs(image_size).items()
    }
    costs["total"] = Cost(
        sum(cost.parameters for cost in costs.values()),
        sum(cost.multiply_adds for cost in costs.values()),
    )
    return costs
