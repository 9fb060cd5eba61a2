"""Tells callbacks of the moments of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from traceback import format_exception
from typing import TYPE_CHECKING

from src.runtime.signals import Interrupted
from src.training.callbacks.loading import NamedCallback, described
from src.training.callbacks.moments import End, Moment, Start, name_of

if TYPE_CHECKING:
    from src.distributed.ranks import Ranks
    from src.training.run_log import RunLog
    from src.training.trainer import Trainer


class CallbackList:
    """The callbacks of this rank, called in their order.

    A callback that raises is reported once, and from then on only told of the end, where it can
    close what it has opened: a tracker without network must not end a run of hours.

    Args:
        is_shared: whether a rank has callbacks that may take long or end the run; the ranks then
            wait for each other at each moment.
    """

    def __init__(
        self,
        callbacks: Sequence[NamedCallback],
        log: RunLog,
        ranks: Ranks | None = None,
        *,
        is_shared: bool = False,
    ):
        self.callbacks = callbacks
        self.log = log
        self.ranks = ranks
        self.is_shared = is_shared and ranks is not None and ranks.size > 1

    def tell(self, moment: Moment, *, alone: bool = False) -> str:
        """Calls all; returns why the run is to end, the same on all ranks, or "".

        With `alone` other ranks may be gone and are not waited for.
        """
        shared = self.is_shared and not alone
        if shared:
            self.ranks.idle()
        reasons = [self._call(entry, moment) for entry in self.callbacks]
        if shared:
            reasons = [reason for own in self.ranks.gather(reasons) for reason in own]
        return next(filter(None, reasons), "")

    def _call(self, entry: NamedCallback, moment: Moment) -> str:
        """Why the callback wants the run to end, or ""."""
        name = name_of(moment)
        method = getattr(entry.callback, name, None)
        if method is None or not (entry.is_on or isinstance(moment, End)):
            return ""
        try:
            answer = method(moment)
        except (Exception, SystemExit) as error:
            self._report(entry, moment, error)
            return ""
        if answer is True:
            return f"callback {entry.name} asks for it"
        return f"callback {entry.name}: {answer}" if answer and isinstance(answer, str) else ""

    def _report(self, entry: NamedCallback, moment: Moment, error: BaseException) -> None:
        if entry.is_on:
            self.log.line(
                f"warning: callback {entry.name} failed at {name_of(moment)}: {described(error)}; "
                "the run goes on without it"
            )
            self.log.line("".join(format_exception(error)), console=False)
        entry.is_on = False
        if isinstance(moment, Start):  # it has nothing to close
            self.callbacks = [other for other in self.callbacks if other is not entry]


@contextmanager
def followed(trainer: Trainer) -> Iterator[None]:
    """Tells a trainer's callbacks that its run starts, and how it ends."""
    trainer.tell(trainer.start())
    try:
        yield
    except BaseException as error:
        status = "interrupted" if isinstance(error, Interrupted) else "failed"
        with suppress(OSError):  # of a full disk's log, which must not hide the error
            trainer.callbacks.tell(trainer.end(status, describe_end(error)), alone=True)
        raise
    trainer.callbacks.tell(trainer.end("finished", trainer.ended_early), alone=True)


def describe_end(error: BaseException) -> str:
    """Why a run has ended, in one line."""
    return str(error) if isinstance(error, Interrupted) else f"{type(error).__name__}: {error}"
