"""Checks what training needs on this machine, cheap things first, and says what to fix.

    python3 -m src.doctor [--device_target=CPU|GPU|Ascend] [--config_path=FILE] [--report FILE]

Any key of the configuration is a flag; batch size, precision, image size and workers matter. Under
mpirun it also checks the ranks: start as many as the training will have. Each check prints a line,
and below a failure what to do; the status is 0 if none failed, else 1. --report writes all of it,
with versions, variables and the drivers' output, without names of people and machines.
"""

import signal
from pathlib import Path

from src.config.command_line import parse_with_report
from src.config.configuration import Config
from src.config.keys import AUTO, load_keys
from src.distributed.command import exit_with_status
from src.distributed.launch import Launch, find_launch, prepare_environment
from src.doctor.checkup import Checkup, raise_job_ended
from src.runtime.console import open_console
from src.runtime.files import check_output_file
from src.runtime.text import count


def headline(cfg: Config, launch: Launch) -> str:
    """The first line: the training that the checks are for."""
    height, width = cfg.image_size
    ranks, workers = count(launch.size, "rank"), count(cfg.num_workers, "worker")
    return (
        f"{cfg.device_target}, {ranks}, each with {workers} and batches of {cfg.batch_size} at "
        f"{width} x {height} px in {cfg.precision}\n"
    )


def parse(argv=None, *, quiet: bool = False) -> tuple[Config, Path | None]:
    """The configuration and the report's path; InputError if that cannot be written."""
    cfg, report = parse_with_report(
        __doc__, argv, prog="python3 -m src.doctor", program="train", quiet=quiet
    )
    if report:
        check_output_file(report, "report")
    if cfg.batch_size == AUTO:  # what fits is not known before the card is asked
        cfg = cfg.replace(batch_size=load_keys()["batch_size"].default)
    return cfg, report


def main(argv=None) -> None:
    launch = find_launch()
    cfg, report = parse(argv, quiet=not launch.is_main)
    if launch.is_scheduler:
        from src.distributed.join import run_scheduler

        run_scheduler(launch)
    prepare_environment(launch)
    if launch.is_main:
        print(headline(cfg, launch), flush=True)
    checkup = Checkup(cfg, launch, report)
    if launch.size > 1:
        signal.signal(signal.SIGTERM, raise_job_ended)
    checkup.run()
    checkup.close()


if __name__ == "__main__":
    open_console()
    exit_with_status(main)
