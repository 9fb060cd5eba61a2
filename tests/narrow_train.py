"""train.py with a small ResNet-18: python tests/narrow_train.py [its flags]

For tests in which compiling all its blocks, and saving and sending all its weights, proves nothing.
"""

import os
import sys
from functools import partial

sys.path.insert(0, os.getcwd())

import train
from src.distributed.command import run_command
from src.runtime.signals import Interruption

CHANNELS = (8, 16, 32, 64)  # inner width of the four stages, an eighth
DEPTHS = (1, 1, 1, 1)  # their blocks, half of them


def narrow_resnet() -> None:
    """Makes every ResNet of an eighth of its width, and ResNet-18 of half its depth."""
    from src.models import resnet

    resnet.STAGE_CHANNELS = CHANNELS
    resnet.VARIANTS["resnet18"] = (resnet.BasicBlock, DEPTHS)


def train_narrow(interruption: Interruption) -> None:
    """train.py; the import of MindSpore waits until `run_command` has set its environment."""
    narrow_resnet()
    train.main(interruption=interruption)


def main() -> None:
    interruption = Interruption()
    run_command(partial(train_narrow, interruption), interruption)


if __name__ == "__main__":
    main()
