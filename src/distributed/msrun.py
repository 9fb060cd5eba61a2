"""Ranks that msrun started."""

import pickle
from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import communication, nn, ops

from src.distributed.gradient_sum import GraphSum, SumOverRanks
from src.distributed.launch import Launch
from src.distributed.ranks import MAIN, SeveralRanks, check_size


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
        # padded to a power of two, so that few sizes are compiled, and to whole int32
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

    def agreed(self, number: float) -> float:
        # see MpiRanks
        return float(self._gather_row(np.array([number]).view(np.int32)).view(np.float64)[MAIN, 0])

    def make_sum(self, weights, statistics, numbers):
        return GraphSum(SumOverRanks(weights, statistics, numbers, ranks=self.size))

    def _gather_row(self, row: np.ndarray) -> np.ndarray:
        """The ranks' rows (L,) int32, as (size, L)."""
        return self.all_gather(ms.Tensor(row)).asnumpy().reshape(self.size, -1)

    def _sync(self, patience: float) -> None:
        self._gather_row(np.zeros(1, np.int32))


class AllGather(nn.Cell):
    """Concatenates the ranks' tensors (L,), (size x L,)."""

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
