"""A callback with which rank 0 is late for an update.

Like all that a run imports, it must not add the repository to sys.path a second time: MindSpore
would take the compiled graphs to be of other sources, and compile them again.
"""

import time

STEP = 4  # the last update before; neither it nor the next one ends an epoch
SECONDS = 4.0


class Late:
    all_ranks = True

    def start(self, start):
        from src.training.trainer import Trainer

        sound = Trainer.update

        def slow(trainer, *args):
            sound(trainer, *args)
            if trainer.step == STEP and trainer.ranks.is_main:
                time.sleep(SECONDS)

        Trainer.update = slow
