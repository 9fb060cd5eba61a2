"""Runs train.py, in which one rank fails: python failing_rank.py HOW RANK STEP [flags of train.py].

HOW is raise, kill (-9), hang, or differ: a weight of that rank is changed by one bit.
"""

import os
import runpy
import signal
import sys
import time

sys.path.insert(0, os.getcwd())


def fail(trainer, how: str) -> None:
    """What happens after an update."""
    if how == "raise":
        raise ValueError("a fault of one rank")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while how == "hang":
        time.sleep(1)
    weight = trainer.network.trainable_params()[0]
    array = weight.asnumpy().copy()
    array.view("int32").flat[0] ^= 1
    weight.set_data(type(weight)(array))


def main() -> None:
    how, rank, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sys.argv = ["train.py", *sys.argv[4:]]
    if os.environ.get("OMPI_COMM_WORLD_RANK") == rank:
        from src.training.trainer import Trainer

        sound = Trainer._step

        def failing(trainer, *args):
            sound(trainer, *args)
            if trainer.step == step:
                fail(trainer, how)

        Trainer._step = failing
    runpy.run_path("train.py", run_name="__main__")


if __name__ == "__main__":
    main()
