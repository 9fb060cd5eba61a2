"""Runs train.py, in which one rank fails: python failing_rank.py HOW RANK STEP [flags of train.py].

HOW is raise, kill (-9), stop (as by a debugger), hang, or dawdle (for a few seconds).
"""

import os
import signal
import sys
import time
from functools import partial

sys.path.insert(0, os.getcwd())

import train
from src.distributed.command import run_command
from src.runtime.signals import Interruption

DAWDLE = 4.0  # seconds


def fail(trainer, how: str) -> None:
    """What happens after an update."""
    if how == "raise":
        raise ValueError("a fault of one rank")
    if how in ("kill", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    while how == "hang":
        time.sleep(1)
    if how == "dawdle":
        time.sleep(DAWDLE)


def run_and_fail(trainer, run, how: str, step: int) -> None:
    """A run whose trainer fails after an update."""
    sound = trainer._step

    def failing(*args):
        sound(*args)
        if trainer.step == step:
            fail(trainer, how)

    trainer._step = failing
    run(trainer)


def main() -> None:
    how, rank, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sys.argv = ["train.py", *sys.argv[4:]]
    if os.environ.get("OMPI_COMM_WORLD_RANK") == rank:
        train.run = partial(run_and_fail, run=train.run, how=how, step=step)
    interruption = Interruption()
    run_command(partial(train.main, interruption=interruption), interruption)


if __name__ == "__main__":
    main()
