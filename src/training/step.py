"""One update of the weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from src.data.loader import TrainBatch
from src.data.workers import Layout
from src.distributed.ranks import Ranks
from src.models.layers import statistics
from src.runtime.errors import InputError
from src.runtime.stopwatch import COMPUTE, REDUCE, UPDATE, WAIT, Stopwatch
from src.training.ema import MovingAverages, ema_decay
from src.training.loss_scale import LossScale
from src.training.update_graphs import (
    Copy,
    Gradients,
    Join,
    LossNetwork,
    Readout,
    Totals,
    Update,
    WeightedSum,
)
from src.weights.checkpoint_file import OPTIMIZER_PREFIX
from src.weights.loading import match, set_parameters

NORM_MARGIN = 1e-6  # keeps the clipping factor finite where all gradients are zero
LOSSES = 4  # total, class loss, box loss, positives
SUMMED_NUMBERS = LOSSES + 1  # over ranks: and how many of them have news


@dataclass(frozen=True)
class StepReport:
    """What an update did.

    loss, class_loss, box_loss: of the weights before it; positives: anchors with an object;
    gradient_norm: before clipping; loss_scale: that was used; updated: False where a number was not
    finite and the weights were left as they were; overflow: that was so because of the loss scale;
    news: whether a rank has any. All are those of the whole job, and the same on all its ranks.
    """

    loss: float
    class_loss: float
    box_loss: float
    positives: float
    gradient_norm: float
    loss_scale: float
    updated: bool
    overflow: bool
    news: bool = False


class TrainStep:
    """From batches to updated weights, or to unchanged ones where a number is not finite.

    The loss of several batches, on one rank or several, is that of one batch with all their images:
    a batch's gradients weigh as its positives, by which its loss was divided. Statistics of batch
    norms become the means over the ranks with each update, so that all ranks stay the same.

    Args:
        loss_network: gives (total, class loss, box loss, positives).
        optimizer: cell on (gradients, lr) with its `parameters`.
        clip_norm: gradients are scaled down to this global norm; 0 leaves them as they are.
        loss_scale: see LossScale; None does without.
        averages: of the weights, or None.
        ema_decay: share of the averages that stays at an update.
        clock: gets the times of the parts.
        ranks: of the job; by default this process alone.
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        optimizer: nn.Cell,
        *,
        clip_norm: float = 0.0,
        loss_scale: Optional[LossScale] = None,
        averages: Optional[MovingAverages] = None,
        ema_decay: float = 0.0,
        clock: Optional[Stopwatch] = None,
        ranks: Optional[Ranks] = None,
    ):
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale or LossScale(1.0)
        self.ema_decay = ema_decay
        self.clock = clock or Stopwatch()
        self.gradients = Gradients(loss_network, optimizer.parameters).set_train(True)
        self.sum = WeightedSum()
        self.join = Join()
        self.totals = Totals()
        self.readout = Readout()
        live = statistics(loss_network)
        backup, self.restore = None, None
        if live:
            kept = ms.ParameterTuple(live).clone(prefix="kept")
            backup, self.restore = Copy(live, kept), Copy(kept, live)
        self.ranks = ranks or Ranks()
        self.sum_over_ranks = self.ranks.make_sum(optimizer.parameters, live, SUMMED_NUMBERS)
        self.update = Update(optimizer, averages=averages, backup=backup)
        self.averages = averages
        self.network = loss_network
        self.updates = 0  # that were made, over all sessions of the run

    def compile(self, layout: Layout, *, batches: int) -> None:
        """Compiles the graphs, always in the same order.

        Args:
            layout: shape and dtype of the arrays of a batch.
            batches: to an update.
        """
        names = ("images", "assigned", "boxes", "labels")
        arrays = [ms.Tensor(np.zeros(*layout[name])) for name in names]
        number = ms.Tensor(1, ms.float32)
        gradients = [
            ms.Tensor(np.zeros(w.shape, np.float32)) for w in self.update.optimizer.parameters
        ]
        losses = [ms.Tensor(np.zeros(LOSSES, np.float32))] * batches
        self.gradients.compile(*arrays, number)
        if batches > 1:
            self.sum.compile(number, number, *gradients, *gradients)
        if self.sum_over_ranks is None:
            if batches > 1:
                self.join.compile(*losses)
            numbers = ms.Tensor(np.zeros(LOSSES * batches, np.float32))
        else:
            self.totals.compile(ms.Tensor(np.zeros(1, np.float32)), *losses)
            self.sum_over_ranks.compile()
            numbers = ms.Tensor(np.zeros(SUMMED_NUMBERS, np.float32))
        self.readout.compile(numbers, *gradients)
        self.update.compile(number, number, number, *gradients)
        if self.restore is not None:
            self.restore.compile()

    def __call__(
        self, batches: Sequence[TrainBatch], lr: float, has_news: Callable[[], bool] = bool
    ) -> StepReport:
        """One update at learning rate lr from the batches of all ranks taken together.

        `has_news` says whether this rank has something to tell the others; by default it has not.
        """
        with self.clock(COMPUTE):
            losses, weight, gradients = self._gradients(batches)
        if self.sum_over_ranks is None:
            totals, weight, norm = self._read(losses, gradients)
            news = has_news()
        else:
            numbers, gradients = self._add_up(losses, weight, gradients, has_news)
            totals, weight, norm = self._read_sums(numbers, gradients)
            news = totals[-1] > 0
        normaliser = max(totals[3], 1.0)
        means, weight = totals[:3] / normaliser, weight / normaliser
        used = self.loss_scale.value
        norm = norm * weight / used
        is_loss_finite = bool(np.isfinite(means).all())
        finite = is_loss_finite and math.isfinite(norm)
        # a loss that is not finite is none of the scale's doing
        overflow = is_loss_finite and self.loss_scale.after(finite=finite)
        with self.clock(UPDATE):
            if finite:
                self._update(gradients, weight / used * self._clipping(norm), lr)
            else:
                self.undo()
        numbers = map(float, (*means, totals[3], norm, used))
        return StepReport(*numbers, updated=finite, overflow=overflow, news=bool(news))

    def undo(self) -> None:
        """Takes back what forward passes since the last update did to the norms' statistics."""
        if self.restore is not None:
            self.restore()

    def synchronise(self) -> None:
        """Gives all ranks the main one's parameters and count of updates."""
        self.ranks.broadcast(list(self.parameters().values()))
        self.updates = self.ranks.from_main(self.updates)
        self._keep_statistics()

    def parameters(self) -> dict[str, ms.Parameter]:
        """All that an update reads and writes, by the names that it has in a checkpoint."""
        named = {p.name: p for p in self.network.get_parameters()}
        if self.averages is not None:
            named.update({p.name: p for p in self.averages.averages})
        weights = {id(p) for p in named.values()}
        for parameter in self.update.optimizer.get_parameters():
            if id(parameter) not in weights:
                named[OPTIMIZER_PREFIX + parameter.name] = parameter
        return named

    def load(self, arrays: Mapping[str, np.ndarray], *, updates: int) -> None:
        """Takes up where the arrays, as `parameters` names them, and the updates were.

        Raises:
            InputError: a name or a shape differs.
        """
        parameters = self.parameters()
        found = match(parameters, arrays)
        if found.missing or found.unexpected or found.misshaped:
            raise InputError(f"the checkpoint does not fit the run\n  {found.report()}")
        set_parameters(parameters, arrays, found.matched)
        self.updates = updates
        self._keep_statistics()

    def _keep_statistics(self) -> None:
        """Makes the statistics that `undo` brings back those of now."""
        if self.restore is not None:
            for kept, own in zip(self.restore.sources, self.restore.targets):
                kept.set_data(ms.Tensor(own.asnumpy().copy()))

    def _gradients(self, batches: Sequence[TrainBatch]):
        """This rank's share of an update; nothing of it is read on the host.

        Returns:
            The losses (4,) of each batch; a weight, a scalar; gradients. Weight x gradients are
            those of the loss that is summed over the boxes.
        """
        scale = ms.Tensor(self.loss_scale.value, ms.float32)
        all_losses, weight, gradients = [], None, None
        for batch in batches:
            arrays = (batch.images, batch.assigned, batch.boxes, batch.labels)
            # share the memory of the arrays, which nobody writes again
            tensors = [ms.Tensor.from_numpy(array) for array in arrays]
            losses, normaliser, found = self.gradients(*tensors, scale)
            all_losses.append(losses)
            if gradients is None:
                gradients, weight = found, normaliser
                continue
            gradients = self.sum(weight, normaliser, *gradients, *found)
            weight = ms.Tensor(1, ms.float32)
        if self.clock.precise:
            all_losses[-1].asnumpy()
        return all_losses, weight, gradients

    def _read(self, losses: Sequence[ms.Tensor], gradients) -> tuple[np.ndarray, float, float]:
        """The numbers of one rank alone; all that the host reads in an update.

        Returns:
            Three losses, each summed over the boxes rather than their mean, and the positives
            (4,); the weight of the gradients; their norm.
        """
        with self.clock(COMPUTE):
            numbers = losses[0] if len(losses) == 1 else self.join(*losses)
            *numbers, norm = self.readout(numbers, *gradients).asnumpy().astype(np.float64)
        numbers = np.reshape(numbers, (-1, LOSSES))  # (batches, 4)
        normalisers = np.maximum(numbers[:, 3:], 1.0)  # (batches, 1)
        totals = np.concatenate([numbers[:, :3] * normalisers, numbers[:, 3:]], axis=1).sum(0)
        return totals, float(normalisers[0, 0]) if len(losses) == 1 else 1.0, float(norm)

    def _add_up(
        self, losses: Sequence[ms.Tensor], weight: ms.Tensor, gradients, has_news: Callable
    ):
        """Sums over the ranks: three losses, positives and news, (5,), and gradients."""
        try:
            with self.clock(WAIT):
                if not self.ranks.is_in_graphs:  # which would wait in MPI, and take a core for it
                    losses[-1].asnumpy()
                self.ranks.meet()
            with self.clock(REDUCE):
                news = ms.Tensor(np.array([has_news()], np.float32))
                sums = self.sum_over_ranks(self.totals(news, *losses), gradients, weight)
                if self.clock.precise:
                    sums[0].asnumpy()
                return sums
        except BaseException:  # a rank is gone, and this one may still be saved
            self.undo()
            raise

    def _read_sums(self, numbers: ms.Tensor, gradients) -> tuple[np.ndarray, float, float]:
        """`_read` for sums over ranks, whose weight is 1; totals (5,), the last one of news."""
        with self.clock(COMPUTE):
            read = self.readout(numbers, *gradients).asnumpy().astype(np.float64)
        return read[:-1], 1.0, self.ranks.same(float(read[-1]))

    def _clipping(self, norm: float) -> float:
        """What brings a norm down to clip_norm, where it is larger."""
        return min(self.clip_norm / (norm + NORM_MARGIN), 1.0) if self.clip_norm > 0 else 1.0

    def _update(self, gradients, factor: float, lr: float) -> None:
        decay = ema_decay(self.updates, self.ema_decay)
        numbers = [ms.Tensor(value, ms.float32) for value in (lr, factor, decay)]
        done = self.update(*numbers, *gradients)
        if self.clock.precise:
            done.asnumpy()
        self.updates += 1
