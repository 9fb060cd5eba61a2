"""What the ranks of a run agree on: when to stop or save, and equal data and weights."""

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence

import mindspore as ms
import numpy as np

from src.data.loader import Unread
from src.data.problems import Unreadable
from src.distributed.ranks import Ranks
from src.runtime.errors import InputError, RunError
from src.runtime.signals import Interruption


class Agreement:
    """Whether to stop or to save after an update, and which images could not be read.

    Each rank says with its gradients whether it has news; messages are exchanged only if one has.

    Args:
        unreadable: collects the unreadable images of all ranks.
        save_seconds: between two checkpoints; 0 for never.
    """

    def __init__(
        self,
        ranks: Ranks,
        interruption: Interruption,
        unreadable: Unreadable,
        *,
        save_seconds: float,
    ):
        self.ranks = ranks
        self.interruption = interruption
        self.unreadable = unreadable
        self.save_seconds = save_seconds
        self.unread: Unread = []  # not yet sent to the other ranks
        self.signum: int | None = None  # received by any rank
        self.is_save_due = False
        self.saved()

    def saved(self) -> None:
        """Restarts the time to the next checkpoint."""
        self.saved_at = time.monotonic()
        self.is_save_due = False

    def has_news(self) -> bool:
        """Whether this rank has something to report to the others."""
        return bool(self.unread) or self.interruption.signum is not None or self._is_time()

    def exchange(self) -> None:
        """Gathers the news of all ranks; InputError if too many images are unreadable."""
        news = self.ranks.gather((self.unread, self.interruption.signum, self._is_time()))
        self.unread = []
        for unread, signum, is_time in news:
            self.unreadable.add(unread)
            self.signum = self.signum or signum
            self.is_save_due = self.is_save_due or is_time
        self.unreadable.check()

    def _is_time(self) -> bool:
        seconds = self.save_seconds
        return seconds > 0 and time.monotonic() - self.saved_at >= seconds


def check_alike(ranks: Ranks, facts: Mapping[str, object]) -> None:
    """InputError names the first fact that is not the same on all ranks."""
    everyone = ranks.gather(dict(facts))
    for name, others in differences(everyone):
        raise InputError(
            f"{name}: not the same on all machines: rank 0 has {everyone[0][name]!r}, "
            f"rank {others[0]} has {everyone[others[0]][name]!r}"
        )


def check_same(ranks: Ranks, parameters: Mapping[str, ms.Parameter]) -> None:
    """RunError names the first parameter that is not the same on all ranks, to the last bit."""
    if ranks.size == 1:
        return
    own = {name: checksum(parameter.asnumpy()) for name, parameter in parameters.items()}
    for name, others in differences(ranks.gather(own)):
        raise RunError(
            f"{name} is not the same on all ranks: it differs from rank 0's on {others}; the run "
            "ends, since its ranks no longer train one network; the last checkpoint is older"
        )


def differences(everyone: Sequence[Mapping]) -> Iterator[tuple[str, list[int]]]:
    """Keys whose values are not equal on all ranks, with the ranks that differ from rank 0."""
    for name, expected in everyone[0].items():
        others = [rank for rank, found in enumerate(everyone) if found[name] != expected]
        if others:
            yield name, others


def checksum(array: np.ndarray) -> int:
    """CRC-32 of an array's bytes."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
