"""Networks for tests."""

import mindspore as ms
import numpy as np

from src.config.configuration import make_config
from src.models import resnet
from src.models.ssd import SSD, build_ssd
from src.weights.checkpoint_config import NETWORK_KEYS, SILENT_KEYS

OTHER_KEYS = ("norm_momentum", "precision", "seed")

built: dict[str, SSD] = {}  # by what their graphs depend on


def shared_network(cfg, per_cell: int, *, drawn: bool = True) -> SSD:
    """As `build_ssd`, but one network of each kind, compiled once; the caller sets its weights."""
    keys = {key: cfg[key] for key in (*NETWORK_KEYS, *SILENT_KEYS, *OTHER_KEYS)}
    kind = repr([per_cell, resnet.STAGE_CHANNELS, {**keys, "classes": len(cfg.classes)}])
    if kind not in built:
        built[kind] = build_ssd(cfg, per_cell)
    return built[kind]


def make_network(num_classes: int = 2, anchors_per_cell: int = 6, **keys) -> SSD:
    """A detector of these keys of the configuration; the weights of its convolutions are zero."""
    classes = [f"class_{number}" for number in range(num_classes)]
    cfg = make_config([({"classes": classes, **keys}, "the test")])
    return build_ssd(cfg, anchors_per_cell, drawn=False)


def excite(network: SSD) -> SSD:
    """The network, set to inference, with predictors whose outputs differ from place to place."""
    rng = np.random.default_rng(0)
    for head in (network.box_head, network.class_head):
        weight = head.predictor.weight
        draw = rng.normal(0, 0.3, weight.shape).astype(np.float32)
        weight.set_data(ms.Tensor(draw))
    bias = network.class_head.predictor.bias  # which makes every score small
    bias.set_data(ms.Tensor(np.full(bias.shape, -1, np.float32)))
    return network.set_train(False)


def stir_norms(network: SSD, rng: np.random.Generator | None = None) -> SSD:
    """The network with batch norms that change what passes, as those of a trained one do."""
    rng = rng or np.random.default_rng(1)
    draws = {
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "beta": lambda shape: rng.normal(0, 0.2, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.2, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
    }
    for parameter in network.get_parameters():
        draw = draws.get(parameter.name.rpartition(".")[2])
        if draw:
            parameter.set_data(ms.Tensor(draw(parameter.shape).astype(np.float32)))
    return network
