"""Adds up the gradients of several ranks, on the host or inside a graph."""

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.ops.auto_generate import SplitWithSize

ALIGNMENT = 16  # floats; parts of the flat buffer start at multiples of it, for vector instructions
GROUP = 100  # tensors joined at once; joining 500 exceeds MindSpore's limit on nested calls

# Operations on each tensor of a tuple, for ops.HyperMap: a Python loop over hundreds of parameters
# is unrolled into nested calls, which compile slowly.
copy_into = ops.MultitypeFuncGraph("copy_into")
flatten = ops.MultitypeFuncGraph("flatten")
reshape_as = ops.MultitypeFuncGraph("reshape_as")


@copy_into.register("Tensor", "Tensor")
def _copy_into(target, source):
    return ops.assign(target, source)


@flatten.register("Tensor")
def _flatten(tensor):
    return tensor.reshape(-1)


@reshape_as.register("Tensor", "Tensor")
def _reshape_as(tensor, other):
    return tensor.reshape(other.shape)


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

    The tensors that it returns are views of the buffer, valid until the next call.

    Args:
        weights: whose gradients are added up.
        statistics: of batch norms, which become the means over the ranks.
        numbers: how many numbers are added up with the gradients.
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
        # unlike np.zeros, filling an empty array gets large pages: the sum took 0.8 of the time
        self.flat = np.empty(starts[-1], np.float32)
        self.flat[:] = 0
        self.numbers, *parts = [
            self.flat[start : start + size].reshape(shape)
            for start, size, shape in zip(starts, sizes, shapes)
        ]
        tensors = [ms.Tensor.from_numpy(part) for part in parts]  # share its memory
        self.number_tensor = ms.Tensor.from_numpy(self.numbers)
        count = len(weights)
        self.gradients, self.gradient_tensors = parts[:count], tensors[:count]
        self.means, self.mean_tensors = parts[count:], tensors[count:]
        self.assign = Assign(statistics) if statistics else None

    def compile(self) -> None:
        """Compiles the graphs that a call runs."""
        if self.assign:
            self.assign.compile(*self.mean_tensors)

    def __call__(
        self, numbers: ms.Tensor, gradients: Sequence[ms.Tensor], weight: ms.Tensor
    ) -> tuple[ms.Tensor, Sequence[ms.Tensor]]:
        """Sums over the ranks.

        Args:
            numbers: (k,) float32, k as in the constructor.
            gradients: one per weight, in its shape, float32.
            weight: of this rank's gradients in their sum, a float32 scalar.

        Returns:
            The sums of the numbers (k,), and of weight x gradients.
        """
        self.numbers[:] = numbers.asnumpy()
        weight = weight.asnumpy()
        for part, gradient in zip(self.gradients, gradients):
            np.multiply(gradient.asnumpy(), weight, out=part)
        for part, statistic in zip(self.means, self.statistics):
            np.multiply(statistic.asnumpy(), self.share, out=part)
        self.add_up(self.flat)
        if self.assign:
            self.assign(*self.mean_tensors)
        return self.number_tensor, self.gradient_tensors


class SumOverRanks(nn.Cell):
    """`HostSum` as a cell, whose graph sends one message.

    `nn.DistributedGradReducer` sends one per tensor on a GPU, 478 for a ResNet50.
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
        self.statistics = ms.ParameterTuple(statistics) if statistics else ()
        self.share = ms.Tensor(1 / ranks, ms.float32)
        self.shapes = [(numbers,), *(w.shape for w in weights)]
        self.count = len(weights)
        sizes = [p.size for p in [*weights, *statistics]]
        self.gradient_groups = groups(0, len(weights))
        self.statistic_groups = groups(0, len(statistics))
        self.groups = groups(0, len(weights)) + groups(len(weights), len(sizes))
        self.sizes = tuple(tuple(sizes[start:stop]) for start, stop in self.groups)
        self.group_sizes = (numbers, *map(sum, self.sizes))
        self.map = ops.HyperMap()
        self.all_reduce = ops.AllReduce()
        self.split = SplitWithSize()  # ops.split is a loop, unrolled into a call per tensor

    def construct(self, numbers, weight, *gradients):
        """The sums: numbers (k,), then the gradients."""
        parts = (numbers,)
        for start, stop in self.gradient_groups:
            parts = (*parts, weight * self.join(gradients[start:stop]))
        for start, stop in self.statistic_groups:
            parts = (*parts, self.share * self.join(self.statistics[start:stop]))
        flat = self.split(self.all_reduce(ops.concat(parts)), self.group_sizes, 0)
        tensors, sums = gradients + self.statistics, ()
        for part, (start, stop), sizes in zip(flat[1:], self.groups, self.sizes):
            sums = sums + self.map(reshape_as, self.split(part, sizes, 0), tensors[start:stop])
        found = (flat[0], *sums[: self.count])
        if not self.statistics:
            return found
        return ops.depend(found, self.map(copy_into, self.statistics, sums[self.count :]))

    def join(self, tensors):
        """Concatenates flattened tensors."""
        return ops.concat(self.map(flatten, tensors))


def groups(start: int, stop: int) -> tuple[tuple[int, int], ...]:
    """Splits range(start, stop) into (start, stop) of at most GROUP."""
    return tuple((first, min(first + GROUP, stop)) for first in range(start, stop, GROUP))


class GraphSum:
    """Adds up gradients inside the graph of `cell`, by MindSpore's collectives; no host reads."""

    def __init__(self, cell: SumOverRanks):
        self.cell = cell

    def compile(self) -> None:
        """Compiles the graphs that a call runs."""
        numbers, *gradients = [ms.Tensor(np.zeros(s, np.float32)) for s in self.cell.shapes]
        self.cell.compile(numbers, ms.Tensor(1, ms.float32), *gradients)

    def __call__(
        self, numbers: ms.Tensor, gradients: Sequence[ms.Tensor], weight: ms.Tensor
    ) -> tuple[ms.Tensor, Sequence[ms.Tensor]]:
        """`HostSum.__call__`."""
        sums = self.cell(numbers, weight, *gradients)
        return sums[0], sums[1:]
