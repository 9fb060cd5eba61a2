"""How the ranks of a job talk to each other: the only file that knows.

Ranks are the processes that train one network together, each with images of its own. Under mpirun
they talk by mpi4py, and on CPU add up gradients with it too; on GPU and Ascend MindSpore adds them
up inside a graph, by NCCL or HCCL. Under msrun MindSpore does all of it (on CPU by its "mccl").
"""

import os
import pickle
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Union

import mindspore as ms
import numpy as np
from mindspore import communication, nn, ops

from src.errors import RankLost, RunError
from src.gradient_sum import GraphSum, HostSum, SumOverRanks
from src.interruption import Interruption
from src.launch import LONGEST_WAIT, Launch
from src.watchdog import Watchdog

MAIN = 0  # the rank that writes and prints
MARGIN = 5.0  # seconds; a rank that hangs says so itself before the others give it up
SIGNAL_GRACE = 0.3  # seconds; mpirun ends a job with a signal, and 1 s later with SIGKILL
# Seconds between two looks, more of them the longer the wait; waiting in MPI itself takes a core.
# Ranks of cards, which are alike, meet within SPIN, in which looks follow one another at once.
SPIN, POLL, POLLED_SHARE, LONGEST_POLL = 0.0003, 0.0005, 0.02, 0.05


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


class MpiRanks(SeveralRanks):
    """Ranks that mpirun started: they talk by mpi4py.

    Args:
        device: CPU, GPU or Ascend. On the latter two MindSpore adds up the gradients.
    """

    def __init__(self, launch: Launch, device: str, **options: Any):
        super().__init__(launch, **options)
        from mpi4py import MPI  # begins what only mpirun's processes can

        self.sum_in_place = MPI.IN_PLACE
        self.comm = MPI.COMM_WORLD
        self.is_in_graphs = device != "CPU"
        check_size((self.comm.rank, self.comm.size), launch, "mpi4py")
        if self.is_in_graphs:
            communication.init({"GPU": "nccl", "Ascend": "hccl"}[device])

    def describe(self) -> str:
        return "MPI, gradients by " + ("MindSpore" if self.is_in_graphs else "host buffers")

    def gather(self, value: Any) -> list:
        self._wait()
        return self.comm.allgather(value)

    def gather_to_main(self, value: Any) -> list:
        self._wait()
        return self.comm.gather(value, root=MAIN) or []

    def from_main(self, value: Any) -> Any:
        self._wait()
        return self.comm.bcast(value, root=MAIN)

    def same(self, number: float) -> float:
        # kernels of the CPU are the same on all ranks, those of cards may add up in any order; the
        # ranks have just met in a sum, so nothing is waited for first
        return self.comm.bcast(number, root=MAIN) if self.is_in_graphs else number

    def broadcast(self, parameters: Sequence[ms.Parameter]) -> None:
        self._wait()
        for parameter in parameters:
            array = parameter.asnumpy().copy()
            self.comm.Bcast(array, root=MAIN)
            parameter.set_data(ms.Tensor(array))

    def make_sum(self, weights, statistics, numbers):
        if self.is_in_graphs:
            return GraphSum(SumOverRanks(weights, statistics, numbers, ranks=self.size))
        return HostSum(weights, statistics, numbers, ranks=self.size, add_up=self._add_up)

    def _add_up(self, flat: np.ndarray) -> None:
        """Replaces an array by its sum over the ranks."""
        self.comm.Allreduce(self.sum_in_place, flat)

    def _meet(self, patience: float) -> None:
        """Waits gently: a call of MPI that blocks would take a core from those it waits for."""
        started = time.monotonic()
        request = self.comm.Ibarrier()
        while not request.Test():
            waited = time.monotonic() - started
            # were another one to leave, which has nothing to save, a late one would wait in MPI
            if self.is_main and waited > SIGNAL_GRACE + self.watchdog.slowest_lap():
                self.interruption.check()
            if waited > patience:
                raise RankLost(
                    f"rank {self.rank} waited {waited:.0f} s for another one, which neither came "
                    f"nor ended: that is {MARGIN:.0f} s more than a rank may take; a higher "
                    "--rank_timeout allows more"
                )
            if waited > SPIN:
                time.sleep(min(max(waited * POLLED_SHARE, POLL), LONGEST_POLL))


class ClusterRanks(SeveralRanks):
    """Ranks that msrun started: MindSpore's collectives do everything, in small graphs."""

    is_in_graphs = True

    def __init__(self, launch: Launch, **options: Any):
        super().__init__(launch, **options)
        communication.init()
        found = communication.get_rank(), communication.get_group_size()
        check_size(found, launch, "MindSpore")
        self.all_gather, self.from_main_rank = AllGather(), FromMain()

    def describe(self) -> str:
        return f"MindSpore's collectives ({communication.GlobalComm.BACKEND})"

    def gather(self, value: Any) -> list:
        self._wait()
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = self._gather_row(np.array([len(data)], np.int32)).ravel()
        # a power of two, since a size that came before needs no new graph, and whole integers
        padded = np.zeros(max(1 << int(lengths.max() - 1).bit_length(), 4), np.uint8)
        padded[: len(data)] = data
        rows = self._gather_row(padded.view(np.int32)).view(np.uint8)  # (size, bytes)
        return [pickle.loads(row[:length].tobytes()) for row, length in zip(rows, lengths)]

    def gather_to_main(self, value: Any) -> list:
        everything = self.gather(value)
        return everything if self.is_main else []

    def from_main(self, value: Any) -> Any:
        return self.gather(value if self.is_main else None)[MAIN]

    def broadcast(self, parameters: Sequence[ms.Parameter]) -> None:
        flat = np.concatenate([parameter.asnumpy().ravel() for parameter in parameters])
        flat, start = self.from_main_rank(ms.Tensor(flat)).asnumpy(), 0
        for parameter in parameters:
            part = flat[start : start + parameter.size]
            parameter.set_data(ms.Tensor(part.reshape(parameter.shape)))
            start += parameter.size

    def same(self, number: float) -> float:
        # see MpiRanks
        return float(self._gather_row(np.array([number]).view(np.int32)).view(np.float64)[MAIN, 0])

    def make_sum(self, weights, statistics, numbers):
        return GraphSum(SumOverRanks(weights, statistics, numbers, ranks=self.size))

    def _gather_row(self, row: np.ndarray) -> np.ndarray:
        """The ranks' rows (L,) int32, as (size, L)."""
        return self.all_gather(ms.Tensor(row)).asnumpy().reshape(self.size, -1)

    def _meet(self, patience: float) -> None:
        self._gather_row(np.zeros(1, np.int32))


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


class AllGather(nn.Cell):
    """The ranks' tensors (L,), one after the other, (size x L,)."""

    def __init__(self):
        super().__init__()
        self.gather = ops.AllGather()

    def construct(self, tensor):
        return self.gather(tensor)


class FromMain(nn.Cell):
    """The main rank's tensor."""

    def __init__(self):
        super().__init__()
        self.broadcast = ops.Broadcast(MAIN)

    def construct(self, tensor):
        return self.broadcast((tensor,))[0]


def join(launch: Launch, *, device: str, timeout: float, interruption: Interruption) -> Ranks:
    """This rank among those of the job; call it once, when the device is set up.

    Args:
        launch: what started it.
        device: CPU, GPU or Ascend.
        timeout: seconds that a rank may take for an update or a batch; see Watchdog.
        interruption: of this process.

    Raises:
        RunError: the ranks do not find each other.
    """
    if launch.size == 1:
        return Ranks()
    options = {"timeout": timeout, "interruption": interruption}
    if launch.by == "msrun":
        return ClusterRanks(launch, **options)
    return MpiRanks(launch, device, **options)


def serve_as_scheduler(launch: Launch) -> None:
    """What msrun's scheduler does: lets the ranks find each other, and ends when they have."""
    if launch.size > 1:
        ms.set_device("CPU")
        try:
            communication.init()  # waits for them
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"the scheduler misses a rank: {reason}") from error
    sys.exit(0)
