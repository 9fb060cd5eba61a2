"""The ranks of a job: the processes that train one network together, each on its own images.

Under mpirun they communicate by mpi4py, and on CPU sum gradients with it too; on GPU and Ascend
MindSpore sums gradients inside a graph, by NCCL or HCCL. Under msrun MindSpore does all of it (on
CPU by its "mccl").
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms

from src.distributed.gradient_sum import GraphSum, HostSum
from src.distributed.launch import LONGEST_WAIT, Launch
from src.distributed.watchdog import Watchdog
from src.runtime.errors import RunError
from src.runtime.signals import Interruption

MAIN = 0  # the rank that writes and prints
MARGIN = 5.0  # seconds; a rank that hangs reports it before the others give up on it


class Ranks:
    """The interface of all ranks, and its implementation for a single process.

    Attributes:
        rank: number of this process, of `size`; local_rank: its number on this machine.
        is_in_graphs: whether compiled graphs depend on them.
    """

    rank, size, local_rank = 0, 1, 0
    is_in_graphs = False

    @property
    def is_main(self) -> bool:
        """Whether this rank writes and prints."""
        return self.rank == MAIN

    def describe(self) -> str:
        """How the ranks communicate, for the log."""
        return "one process"

    def heartbeat(self, kind: str) -> None:
        """Reports to the watchdog that an update or a batch (its `kind`) starts."""

    def idle(self) -> None:
        """Stops the watchdog until the next heartbeat."""

    def sync_pace(self) -> None:
        """Gives all watchdogs the limits of the slowest rank."""

    def agreed(self, number: float) -> float:
        """The main rank's value of a number that graphs computed on each rank, to the last bit."""
        return number

    def sync(self) -> None:
        """Waits for all ranks in an update; RankLost if one takes longer than its limit."""

    def gather(self, value: Any) -> list:
        """The values of all ranks, in their order; any value that can be pickled."""
        return [value]

    def gather_to_main(self, value: Any) -> list:
        """`gather` on the main rank; an empty list on the others."""
        return [value]

    def from_main(self, value: Any) -> Any:
        """The main rank's value."""
        return value

    def on_main(self, work: Callable[[], Any]) -> Any:
        """The result of `work` on all ranks; the main rank runs it while the others wait."""
        self.idle()
        return self.from_main(work() if self.is_main else None)

    def broadcast(self, parameters: Sequence[ms.Parameter]) -> None:
        """Sets float32 parameters to the main rank's values."""

    def make_sum(
        self, weights: Sequence[ms.Parameter], statistics: Sequence[ms.Parameter], numbers: int
    ) -> HostSum | GraphSum | None:
        """The sum of the gradients of `weights` over the ranks; None for a single process.

        Args:
            statistics: of batch norms, which become the means over the ranks.
            numbers: how many numbers are summed with the gradients.
        """
        return None

    def cores(self) -> int:
        """Cores of this rank: each that it may use counts 1 / ranks that may use it."""
        own = os.sched_getaffinity(0)
        host = socket.gethostname()
        here = [cores for where, cores in self.gather((host, own)) if where == host]
        shares = [1 / sum(core in cores for cores in here) for core in own]
        return max(1, round(sum(shares) - 0.49))  # rounded down, with a margin for float error


class SeveralRanks(Ranks, ABC):
    """What ranks of all launchers have in common; `timeout` is the watchdog's, in seconds."""

    def __init__(self, launch: Launch, *, timeout: float, interruption: Interruption):
        self.rank, self.size, self.local_rank = launch.rank, launch.size, launch.local_rank
        self.watchdog = Watchdog(timeout)
        self.interruption = interruption

    def heartbeat(self, kind: str) -> None:
        self.watchdog.heartbeat(kind)

    def sync_pace(self) -> None:
        paces = self.gather(self.watchdog.slowest)
        self.watchdog.slowest = {
            kind: max(pace[kind] for pace in paces if kind in pace)
            for kind in self.watchdog.slowest
        }

    def idle(self) -> None:
        self.watchdog.idle()

    def sync(self) -> None:
        self._wait(self.watchdog.limit() + MARGIN if self.watchdog.is_on else LONGEST_WAIT)

    def _wait(self, patience: float = LONGEST_WAIT) -> None:
        """Waits for all ranks, at most `patience` seconds, with the watchdog paused."""
        paused = self.watchdog.pause()
        self._sync(patience)
        self.watchdog.resume(paused)

    @abstractmethod
    def _sync(self, patience: float) -> None:
        """Returns when all ranks have called it; RankLost after `patience` seconds."""


def check_size(found: tuple[int, int], launch: Launch, library: str) -> None:
    """RunError unless a library `found` the same (rank, size) as the launcher."""
    if found != (launch.rank, launch.size):
        raise RunError(
            f"{launch.by} started rank {launch.rank} of {launch.size}, but {library} takes it for "
            f"{found[0]} of {found[1]}: they do not use the same MPI or cluster"
        )
