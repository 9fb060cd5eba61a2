"""Backbones by their names in the configuration."""

from collections.abc import Callable
from functools import partial

from src.models.backbone import Backbone
from src.models.resnet import VARIANTS, resnet

# each takes `padding` and `norm_momentum`, see `build_backbone`
BACKBONES: dict[str, Callable[..., Backbone]] = {
    **{name: partial(resnet, name) for name in VARIANTS},
}


def build_backbone(name: str, *, padding: str = "same", norm_momentum: float = 0.9) -> Backbone:
    """The backbone `name` of BACKBONES, with weights of zero; InputError for a padding it lacks."""
    return BACKBONES[name](padding=padding, norm_momentum=norm_momentum)
