"""How the ranks of a job talk to each other: the only file that knows.

Ranks are the processes that train one network together, each with images of its own. Under mpirun
they talk by mpi4py, and on CPU add up gradients with it too; on GPU and Ascend MindSpore adds them
up inside a graph, by NCCL or HCCL. Under msrun MindSpore does all of it (on CPU by its "mccl").
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Union

import mindspore as ms

from src.distributed.gradient_sum import GraphSum, HostSum
from src.distributed.launch import LONGEST_WAIT, Launch
from src.distributed.watchdog import Watchdog
from src.runtime.errors import RunError
from src.runtime.signals import Interruption

MAIN = 0  # the rank that writes and prints
MARGIN = 5.0  # seconds; a rank that hangs says so itself before the others give it up


class Ranks:
    """One process on its own, to which all this costs nothing; and the interface of several.

    Attributes:
        rank, size, local_rank: which of how many processes, and which of this machine's.
        is_in_graphs: whether compiled graphs depend on them.
    """

    rank, size, local_rank = 0, 1, 0
    is_in_graphs = False

    @property
    def is_main(self) -> bool:
        """Whether this rank writes and prints."""
        return self.rank == MAIN

    def describe(self) -> str:
        """How the ranks talk, for the log."""
        return "one process"

    def alive(self, kind: str) -> None:
        """Says that this rank begins an update or a batch, of a kind of its own; see Watchdog."""

    def rest(self) -> None:
        """Begins something that takes as long as it takes: no call of `alive` is expected."""

    def share_pace(self) -> None:
        """Lets all ranks be as patient as the slowest needs them to be."""

    def same(self, number: float) -> float:
        """A number that graphs gave to each rank alike, but perhaps for its last bit."""
        return number

    def meet(self) -> None:
        """Waits for all ranks in an update; RankLost where one takes longer than its limit."""

    def gather(self, value: Any) -> list:
        """What each rank gave, in their order; a value is anything that can be pickled."""
        return [value]

    def gather_to_main(self, value: Any) -> list:
        """`gather` for the main rank; nothing for the others."""
        return [value]

    def from_main(self, value: Any) -> Any:
        """The main rank's value."""
        return value

    def main_does(self, work: Callable[[], Any]) -> Any:
        """What `work` gives to the main rank, which does it while the others wait."""
        self.rest()
        return self.from_main(work() if self.is_main else None)

    def broadcast(self, parameters: Sequence[ms.Parameter]) -> None:
        """Gives float32 parameters the main rank's values."""

    def make_sum(
        self, weights: Sequence[ms.Parameter], statistics: Sequence[ms.Parameter], numbers: int
    ) -> Union[HostSum, GraphSum, None]:
        """What adds up the gradients of `weights`; None where there is nothing to add up.

        Args:
            statistics: of batch norms, which become the means over the ranks.
            numbers: how many numbers are added up with the gradients.
        """
        return None

    def cores(self) -> int:
        """Cores of this rank: those it may use, shared with the ranks that may use them too."""
        own = os.sched_getaffinity(0)
        host = socket.gethostname()
        here = [cores for where, cores in self.gather((host, own)) if where == host]
        shares = [1 / sum(core in cores for cores in here) for core in own]
        return max(1, round(sum(shares) - 0.49))  # rounded down, but for what floats leave


class SeveralRanks(Ranks, ABC):
    """What all transports have in common.

    Args:
        launch: which rank this is.
        timeout: of its watchdog, in seconds.
        interruption: of this process.
    """

    def __init__(self, launch: Launch, *, timeout: float, interruption: Interruption):
        self.rank, self.size, self.local_rank = launch.rank, launch.size, launch.local_rank
        self.watchdog = Watchdog(timeout)
        self.interruption = interruption

    def alive(self, kind: str) -> None:
        self.watchdog.lap(kind)

    def share_pace(self) -> None:
        paces = self.gather(self.watchdog.slowest)
        self.watchdog.slowest = {
            kind: max(pace[kind] for pace in paces if kind in pace)
            for kind in self.watchdog.slowest
        }

    def rest(self) -> None:
        self.watchdog.rest()

    def meet(self) -> None:
        self._wait(self.watchdog.limit() + MARGIN if self.watchdog.is_on else LONGEST_WAIT)

    def _wait(self, patience: float = LONGEST_WAIT) -> None:
        """Waits so many seconds at most for all ranks, which is no fault of this one."""
        paused = self.watchdog.pause()
        self._meet(patience)
        self.watchdog.go_on(paused)

    @abstractmethod
    def _meet(self, patience: float) -> None:
        """Returns when all ranks have called it; RankLost after so many seconds."""


def check_size(found: tuple[int, int], launch: Launch, library: str) -> None:
    """RunError unless a library counts the ranks as the launcher does.

    Args:
        found: rank and size that the library tells.
    """
    if found != (launch.rank, launch.size):
        raise RunError(
            f"{launch.by} started rank {launch.rank} of {launch.size}, but {library} takes it for "
            f"{found[0]} of {found[1]}: they do not use the same MPI or cluster"
        )
