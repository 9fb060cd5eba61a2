"""Ranks that mpirun started."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import mindspore as ms
from mindspore import communication

from src.distributed.gradient_sum import GraphSum, HostSum, SumOverRanks
from src.distributed.launch import Launch
from src.distributed.ranks import MAIN, MARGIN, SeveralRanks, check_size
from src.runtime.errors import RankLost

SIGNAL_GRACE = 0.3  # seconds; mpirun ends a job with a signal, and 1 s later with SIGKILL
# Seconds between two polls, longer the longer the wait; blocking in MPI would occupy a core. Ranks
# of equal cards arrive within SPIN, during which polls follow each other without a pause.
SPIN, POLL, POLLED_SHARE, LONGEST_POLL = 0.0003, 0.0005, 0.02, 0.05


class MpiRanks(SeveralRanks):
    """Ranks that mpirun started, which communicate by mpi4py.

    On GPU and Ascend MindSpore sums the gradients.
    """

    def __init__(self, launch: Launch, device: str, **options: Any):
        super().__init__(launch, **options)
        from mpi4py import MPI  # initialises MPI, which works under mpirun alone

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

    def agreed(self, number: float) -> float:
        # CPU kernels give all ranks equal values; cards may sum in any order. The ranks have
        # just been synchronised by a sum, so no wait comes first
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
        add_up = partial(self.comm.Allreduce, self.sum_in_place)
        return HostSum(weights, statistics, numbers, ranks=self.size, add_up=add_up)

    def _sync(self, patience: float) -> None:
        """Polls: a blocking call of MPI would take a core from the ranks it waits for."""
        started = time.monotonic()
        request = self.comm.Ibarrier()
        while not request.Test():
            waited = time.monotonic() - started
            # only the main rank, which saves, may leave here: a late rank would wait in MPI
            if self.is_main and waited > SIGNAL_GRACE + self.watchdog.slowest_lap():
                self.interruption.check()
            if waited > patience:
                raise RankLost(
                    f"rank {self.rank} waited {waited:.0f} s for another one, which has not "
                    f"ended: that is {MARGIN:.0f} s more than a rank may take; a higher "
                    "--rank_timeout allows more"
                )
            if waited > SPIN:
                time.sleep(min(max(waited * POLLED_SHARE, POLL), LONGEST_POLL))
