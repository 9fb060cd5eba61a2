"""Evaluates a checkpoint or exported file by COCO's metric; `eval.py --help` lists its keys."""

from src.distributed.command import run_command
from src.distributed.launch import find_launch


def main(argv=None) -> None:
    from src.config.command_line import parse_args
    from src.evaluation.run import recorded_layer, run_evaluation

    launch = find_launch()
    cfg = parse_args(
        __doc__,
        argv,
        program="eval",
        beneath=recorded_layer,
        over_recipe=["classes"],
        quiet=not launch.is_main,
    )
    run_evaluation(cfg, launch)


if __name__ == "__main__":
    run_command(main)
