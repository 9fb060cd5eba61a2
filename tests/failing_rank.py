"""Runs train.py, in which one rank fails: python failing_rank.py HOW RANK STEP [flags of train.py].

HOW is raise, kill (-9) or hang.
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


def fail(trainer, how: str) -> None:
    """What happens after an update."""
    if how == "raise":
        raise ValueError("a fault of one rank")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while how == "hang":
        time.sleep(1)


def with_fault(trainer, how: str, step: int):
    """The trainer, which fails after an update."""
    sound = trainer.update

    def failing(*args):
        sound(*args)
        if trainer.step == step:
            fail(trainer, how)

    trainer.update = failing
    return trainer


def train_and_fail(how: str, step: int, interruption: Interruption) -> None:
    """train.py, whose trainer fails after an update."""
    from src.training import setup

    sound = setup.prepare
    setup.prepare = lambda *args: with_fault(sound(*args), how, step)
    train.main(interruption=interruption)


def main() -> None:
    how, rank, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sys.argv = ["train.py", *sys.argv[4:]]
    interruption = Interruption()
    work = partial(train.main, interruption=interruption)
    if os.environ.get("OMPI_COMM_WORLD_RANK") == rank:
        work = partial(train_and_fail, how, step, interruption)
    run_command(work, interruption)


if __name__ == "__main__":
    main()
