"""Sums over the batches and ranks of an update: losses, and the norm of the gradients.

A batch's losses are L numbers: total and terms, each a mean over the positive anchors, and the
number of positives. Losses are summed over positives, not averaged over batches, so that the update
equals that of one large batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np

from src.distributed.ranks import Ranks
from src.runtime.stopwatch import COMPUTE, REDUCE, WAIT, Stopwatch
from src.training.update_graphs import Readout, Totals

Tensors = Sequence[ms.Tensor]


@dataclass(frozen=True)
class Sums:
    """All that the host reads of an update.

    Attributes:
        losses: (L - 1,) float64, total and terms, summed over the positive anchors.
        positives: number of positive anchors.
        weight: weight x gradients are the gradients of the summed total.
        norm: of the gradients.
        news: whether a rank has news.
    """

    losses: np.ndarray
    positives: float
    weight: float
    norm: float
    news: bool


class StepSums:
    """Adds up an update over its batches and, in a job of several ranks, over the ranks.

    Args:
        sum_over_ranks: adds up L + 1 numbers and the gradients, see `Ranks.make_sum`; None for a
            single process.
        size: L.
    """

    def __init__(self, ranks: Ranks, sum_over_ranks: Callable | None, size: int, clock: Stopwatch):
        self.ranks = ranks
        self.sum_over_ranks = sum_over_ranks
        self.size = size
        self.clock = clock
        self.totals = Totals()
        self.readout = Readout()

    def compile(self, losses: Tensors, gradients: Tensors) -> None:
        """Compiles the graphs that a call with tensors of these shapes runs."""
        self.totals.compile(zeros(1), *losses)
        if self.sum_over_ranks is not None:
            self.sum_over_ranks.compile()
        self.readout.compile(zeros(self.size + 1), *gradients)

    def __call__(
        self, losses: Tensors, weight: ms.Tensor, gradients: Tensors, has_news: Callable[[], bool]
    ) -> tuple[Sums, Tensors]:
        """The sums, and the gradients, summed over the ranks.

        Args:
            losses: (L,) of each batch.
            weight: of this rank's gradients in their sum, a float32 scalar.
            gradients: one per weight of the network.
            has_news: whether this rank has news for the others.
        """
        if self.sum_over_ranks is not None:
            numbers, gradients = self._over_ranks(losses, weight, gradients, has_news)
        with self.clock(COMPUTE):
            if self.sum_over_ranks is None:
                numbers = self.totals(zeros(1), *losses)
            read = self.readout(numbers, *gradients).asnumpy().astype(np.float64)
        *summed, positives, news, norm = read.tolist()
        factor = 1.0
        if self.sum_over_ranks is None:
            news = has_news()
            if len(losses) == 1:  # whose gradients are of the mean, not of the sum
                factor = max(positives, 1.0)
        norm = self.ranks.agreed(norm)
        return Sums(np.array(summed), positives, factor, norm, news > 0), gradients

    def _over_ranks(self, losses, weight, gradients, has_news) -> tuple[ms.Tensor, Tensors]:
        """The numbers (L + 1,) and the gradients, summed over the ranks."""
        with self.clock(WAIT):
            if not self.ranks.is_in_graphs:  # else the graph waits in MPI, which occupies a core
                losses[-1].asnumpy()
            self.ranks.sync()
        with self.clock(REDUCE):
            news = ms.Tensor(np.array([has_news()], np.float32))
            numbers, gradients = self.sum_over_ranks(self.totals(news, *losses), gradients, weight)
            if self.clock.precise:
                numbers.asnumpy()
        return numbers, gradients


def zeros(size: int) -> ms.Tensor:
    """(size,) float32."""
    return ms.Tensor(np.zeros(size, np.float32))
