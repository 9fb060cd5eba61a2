"""Saves a run that a signal, a dead worker or a lost rank ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from src.runtime.errors import RankLost, WorkerDied
from src.runtime.signals import Interrupted

if TYPE_CHECKING:
    from src.training.trainer import Trainer

SIGNAL_DELAY = 1.0  # seconds by which a signal may reach this process later than its workers


@contextmanager
def rescued(trainer: Trainer) -> Iterator[None]:
    """Saves the run if a signal, a dead worker or a lost rank ends it, and closes its parts.

    Raises:
        Interrupted: a signal asked the run to stop, and it was saved.
        WorkerDied, RankLost: with the name of the checkpoint, if one was saved.
    """
    try:
        yield
    except Interrupted as interrupted:
        save_and_report(trainer, interrupted)
        raise
    except (WorkerDied, RankLost) as death:
        # schedulers also signal the workers, which end at once
        if isinstance(death, WorkerDied) and trainer.interruption.wait(SIGNAL_DELAY):
            interrupted = Interrupted(trainer.interruption.signum)
            save_and_report(trainer, interrupted)
            raise interrupted from None
        if trainer.step and trainer.save(alone=True):
            raise type(death)(f"{death}; saved {trainer.checkpoints.last}") from None
        raise
    finally:
        trainer.ranks.idle()
        trainer.interruption.deferred = False
        trainer.progress.close()
        trainer.loader.close()
        if trainer.agreement.unreadable.messages:
            trainer.log.line(f"replaced by other images: {trainer.agreement.unreadable}")


def save_and_report(trainer: Trainer, interrupted: Interrupted) -> None:
    """Saves on the main rank, and logs how to resume."""
    trainer.progress.close()
    trainer.ranks.idle()
    if not trainer.ranks.is_main:
        return
    last, step = trainer.checkpoints.last, trainer.step
    if trainer.save(alone=True):
        trainer.log.line(
            f"{interrupted}: saved {last} (epoch {trainer.plan.epoch_of(step)}, step {step}); "
            "continue with --resume=True"
        )
    else:
        trainer.log.line(
            f"{interrupted}: not saved, since the last {trainer.guard.bad_in_a_row} updates were "
            f"skipped; --resume=True continues from {last}, or restarts if there is none"
        )
