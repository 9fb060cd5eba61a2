"""Builders of backbones by their names in the configuration."""

from collections.abc import Callable
from functools import partial

from src.models.backbone import Backbone
from src.models.resnet import VARIANTS, resnet

# each takes `padding` and `norm_momentum`, and returns weights of zero
BACKBONES: dict[str, Callable[..., Backbone]] = {
    **{name: partial(resnet, name) for name in VARIANTS},
}
