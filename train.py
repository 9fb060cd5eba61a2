"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists its keys."""

from functools import partial

from src.distributed.command import run_command
from src.distributed.launch import find_launch
from src.runtime.signals import Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config.command_line import parse_args
    from src.prediction.recorded import training_layer
    from src.training.run import run_training

    launch = find_launch()
    cfg = parse_args(
        __doc__, argv, program="train", beneath=training_layer, quiet=not launch.is_main
    )
    run_training(cfg, launch, interruption)


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
