"""Small ResNets, where compiling all blocks and saving and sending all weights proves nothing."""

import os
from pathlib import Path

CHANNELS = (8, 16, 32, 64)  # inner width of the four stages, an eighth
DEPTHS = (1, 1, 1, 1)  # their blocks
NARROWED = ("resnet18", "resnet50")  # whose depths change
HOOK = str(Path(__file__).parent)  # whose sitecustomize.py Python imports when it starts


def narrow_resnet() -> None:
    """Makes every ResNet of an eighth of its width, and NARROWED of one block a stage."""
    from src.models import resnet

    resnet.STAGE_CHANNELS = CHANNELS
    for name in NARROWED:
        resnet.VARIANTS[name] = (resnet.VARIANTS[name][0], DEPTHS)


def narrow_environment() -> dict[str, str]:
    """Variables with which the ResNets of a Python process are those of `narrow_resnet`."""
    return {"PYTHONPATH": os.pathsep.join([HOOK, *filter(None, [os.environ.get("PYTHONPATH")])])}
