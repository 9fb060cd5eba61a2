"""Adding up the gradients of several ranks: on the host, or inside a graph."""

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.tuples import copy_into, scale

ALIGNMENT = 16  # floats; parts of the flat buffer start at multiples of it, for vector instructions


class Assign(nn.Cell):
    """Sets parameters to the values given."""

    def __init__(self, parameters: Sequence[ms.Parameter]):
        super().__init__(auto_prefix=False)
        self.parameters = ms.ParameterTuple(parameters)
        self.map = ops.HyperMap()

    def construct(self, *values):
        return self.map(copy_into, self.parameters, values)


class HostSum:
    """Adds up gradients through one flat buffer in the host's memory.

    The tensors that it gives are views of the buffer: they hold until the next call.

    Args:
        weights: whose gradients are added up.
        statistics: of batch norms, which become the means over the ranks.
        numbers: how many are added up with the gradients.
        ranks: of the job.
        add_up: replaces an array (L,) by its sum over the ranks.
    """

    def __init__(
        self,
        weights: Sequence[ms.Parameter],
        statistics: Sequence[ms.Parameter],
        numbers: int,
        *,
        ranks: int,
        add_up: Callable[[np.ndarray], None],
    ):
        self.share = np.float32(1 / ranks)
        self.add_up = add_up
        self.statistics = statistics
        shapes = [(numbers,), *(p.shape for p in [*weights, *statistics])]
        sizes = [int(np.prod(shape)) for shape in shapes]
        starts = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)])
        # filled rather than made of zeros, NumPy asks for large pages: the sum took 0.8 of the time
        self.flat = np.empty(starts[-1], np.float32)
        self.flat[:] = 0
        self.numbers, *parts = [
            self.flat[start : start + size].reshape(shape)
            for start, size, shape in zip(starts, sizes, shapes)
        ]
        tensors = [ms.Tensor.from_numpy(part) for part in parts]  # share its memory
        count = len(weights)
        self.gradients, self.gradient_tensors = parts[:count], tensors[:count]
        self.means, self.mean_tensors = parts[count:], tensors[count:]
        self.assign = Assign(statistics) if statistics else None

    def compile(self) -> None:
        """Compiles the graphs that a call runs."""
        if self.assign:
            self.assign.compile(*self.mean_tensors)

    def __call__(
        self, numbers: Sequence[float], gradients: Sequence[ms.Tensor], weight: float
    ) -> tuple[np.ndarray, Sequence[ms.Tensor]]:
        """Sums over the ranks.

        Args:
            numbers: as many as were announced.
            gradients: one a weight, in its shape, float32.
            weight: of this rank's gradients in their sum.

        Returns:
            The sums of the numbers (k,) float64, and of weight x gradients.
        """
        self.numbers[:] = numbers
        for part, gradient in zip(self.gradients, gradients):
            np.multiply(gradient.asnumpy(), np.float32(weight), out=part)
        for part, statistic in zip(self.means, self.statistics):
            np.multiply(statistic.asnumpy(), self.share, out=part)
        self.add_up(self.flat)
        if self.assign:
            self.assign(*self.mean_tensors)
        return self.numbers.astype(np.float64), self.gradient_tensors


class SumOverRanks(nn.Cell):
    """Adds up numbers and weight x gradients over the ranks; statistics become their means.

    Args:
        weights, statistics, numbers, ranks: see HostSum.
    """

    def __init__(
        self,
        weights: Sequence[ms.Parameter],
        statistics: Sequence[ms.Parameter],
        numbers: int,
        *,
        ranks: int,
    ):
        super().__init__(auto_prefix=False)
        first = ms.Parameter(ms.Tensor(np.zeros(numbers, np.float32)), name="numbers")
        summed = [first, *weights, *statistics]
        # all in one message, where the device's library can
        self.reduce = nn.DistributedGradReducer(summed, mean=False, degree=ranks)
        self.statistics = ms.ParameterTuple(statistics) if statistics else None
        self.share = ms.Tensor(1 / ranks, ms.float32)
        self.count = 1 + len(weights)
        self.shapes = tuple(parameter.shape for parameter in summed[: self.count])
        self.map = ops.HyperMap()

    def construct(self, numbers, weight, *gradients):
        """Sums (numbers (k,), one a gradient)."""
        tensors = (numbers, *self.map(ops.partial(scale, weight), gradients))
        if self.statistics is None:
            return self.reduce(tensors)
        means = self.map(ops.partial(scale, self.share), self.statistics)
        sums = self.reduce(tensors + means)
        done = self.map(copy_into, self.statistics, sums[self.count :])
        return ops.depend(sums[: self.count], done)


class GraphSum:
    """Adds up gradients inside a graph, by MindSpore's collectives.

    Args:
        cell: does it.
    """

    def __init__(self, cell: SumOverRanks):
        self.cell = cell

    def compile(self) -> None:
        """Compiles the graphs that a call runs."""
        numbers, *gradients = [ms.Tensor(np.zeros(s, np.float32)) for s in self.cell.shapes]
        self.cell.compile(numbers, ms.Tensor(1, ms.float32), *gradients)

    def __call__(
        self, numbers: Sequence[float], gradients: Sequence[ms.Tensor], weight: float
    ) -> tuple[np.ndarray, Sequence[ms.Tensor]]:
        """Sums over the ranks.

        Args:
            numbers: as many as were announced.
            gradients: one a weight, in its shape, float32.
            weight: of this rank's gradients in their sum.

        Returns:
            The sums of the numbers (k,) float64, and of weight x gradients.
        """
        numbers = ms.Tensor(np.asarray(numbers, np.float32))
        sums = self.cell(numbers, ms.Tensor(weight, ms.float32), *gradients)
        return sums[0].asnumpy().astype(np.float64), sums[1:]
