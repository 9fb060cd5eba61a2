"""Time of the parts of a training step."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

from src.data.loader import TrainBatch
from src.runtime.stopwatch import PARTS
from src.training.progress import Pace
from src.training.trainer import Trainer

WARM_UP_STEPS = 3  # in which kernels are set up and workers fill their queue
TIMED_STEPS = 20


def profile(trainer: Trainer) -> str:
    """Makes a few updates and returns a table of their parts; saves nothing."""
    trainer.progress.total_steps = WARM_UP_STEPS + TIMED_STEPS
    trainer.plan = replace(trainer.plan, stop_at=WARM_UP_STEPS + TIMED_STEPS)
    trainer.progress.start(0)
    try:
        with closing(all_updates(trainer)) as updates:
            for batches in islice(updates, WARM_UP_STEPS):
                trainer.update(batches, is_saved=False)
            trainer.progress.restart()
            for batches in islice(updates, TIMED_STEPS):
                trainer.update(batches, is_saved=False)  # its logging counts in the next update
    finally:
        trainer.ranks.idle()
        trainer.progress.close()
        trainer.loader.close()
    return table(trainer.progress.session)


def all_updates(trainer: Trainer) -> Iterator[list[TrainBatch]]:
    """The batches of updates, epoch after epoch."""
    while True:
        with closing(trainer.updates()) as updates:
            yield from updates


def table(pace: Pace) -> str:
    """The parts of an update as a table."""
    total = sum(pace.parts.values())
    lines = [f"time of an update by part, mean of {pace.updates}"]
    for part in PARTS:
        seconds = pace.parts.get(part, 0.0)
        each = 1000 * seconds / pace.updates
        lines.append(f"  {part:<20}{each:>10.1f} ms {seconds / total:>7.1%}")
    lines.append(f"  {'all':<20}{1000 * total / pace.updates:>10.1f} ms")
    return "\n".join(lines)
