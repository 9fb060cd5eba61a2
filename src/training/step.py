"""One update of the weights."""

import math
from collections.abc import Callable, Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn

from src.data.loader import TrainBatch
from src.data.workers import Layout
from src.distributed.ranks import Ranks
from src.models.layers import statistics
from src.runtime.errors import InputError
from src.runtime.stopwatch import COMPUTE, UPDATE, Stopwatch
from src.training.ema import MovingAverages, ema_decay
from src.training.loss_scale import LossScale
from src.training.step_report import StepReport
from src.training.step_sums import StepSums
from src.training.update_graphs import Copy, Gradients, LossNetwork, Update, WeightedSum
from src.weights.checkpoint_file import OPTIMIZER_PREFIX
from src.weights.loading import match, set_parameters

NORM_MARGIN = 1e-6  # keeps the clipping factor finite where all gradients are zero


class TrainStep:
    """Updates the weights from batches, unless a number is not finite.

    The loss of several batches and ranks equals that of one batch with all their images: a batch's
    gradients are weighted by its positives, by which its loss was divided. Statistics of batch
    norms become the means over the ranks at each update, so that all ranks stay equal.

    Args:
        optimizer: cell on (gradients, lr) with its `parameters`.
        clip_norm: gradients are scaled down to this global norm; 0 for no clipping.
        ema_decay: share of the averages kept at an update.
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        optimizer: nn.Cell,
        *,
        clip_norm: float = 0.0,
        loss_scale: LossScale | None = None,
        averages: MovingAverages | None = None,
        ema_decay: float = 0.0,
        clock: Stopwatch | None = None,
        ranks: Ranks | None = None,
    ):
        self.network = loss_network
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale or LossScale(1.0)
        self.averages = averages
        self.ema_decay = ema_decay
        self.clock = clock or Stopwatch()
        self.ranks = ranks or Ranks()
        self.updates = 0  # in all sessions of the run
        self.gradients = Gradients(loss_network, optimizer.parameters).set_train(True)
        self.weighted_sum = WeightedSum()
        live = statistics(loss_network)
        backup, self.restore = None, None
        if live:
            kept = ms.ParameterTuple(live).clone(prefix="kept")
            backup, self.restore = Copy(live, kept), Copy(kept, live)
        self.size = 1 + len(loss_network.term_names) + 1  # total, terms, positives
        add_up = self.ranks.make_sum(optimizer.parameters, live, self.size + 1)
        self.sums = StepSums(self.ranks, add_up, self.size, self.clock)
        self.update = Update(optimizer, averages=averages, backup=backup)

    def compile(self, layout: Layout, *, batches: int) -> None:
        """Compiles the graphs, always in the same order, for batches of the given layout."""
        names = ("images", "assigned", "boxes", "labels")
        arrays = [ms.Tensor(np.zeros(*layout[name])) for name in names]
        number = ms.Tensor(1, ms.float32)
        weights = self.update.optimizer.parameters
        gradients = [ms.Tensor(np.zeros(w.shape, np.float32)) for w in weights]
        self.gradients.set_train(True)  # whatever an evaluation of the network has left
        self.gradients.compile(*arrays, number)
        if batches > 1:
            self.weighted_sum.compile(number, number, *gradients, *gradients)
        losses = [ms.Tensor(np.zeros(self.size, np.float32))] * batches
        self.sums.compile(losses, gradients)
        self.update.compile(number, number, number, *gradients)
        if self.restore is not None:
            self.restore.compile()

    def __call__(
        self, batches: Sequence[TrainBatch], lr: float, has_news: Callable[[], bool] = bool
    ) -> StepReport:
        """One update at learning rate lr, from the batches of all ranks.

        `has_news` returns whether this rank has news for the others; `bool` returns False.
        """
        with self.clock(COMPUTE):
            losses, weight, gradients = self._gradients(batches)
        try:
            sums, gradients = self.sums(losses, weight, gradients, has_news)
        except BaseException:
            if self.ranks.size > 1:  # another rank is lost, and this one may still be saved
                self.undo()
            raise
        normaliser = max(sums.positives, 1.0)
        means, weight = sums.losses / normaliser, sums.weight / normaliser
        used = self.loss_scale.value
        norm = sums.norm * weight / used
        is_loss_finite = bool(np.isfinite(means).all())
        finite = is_loss_finite and math.isfinite(norm)
        # the loss scale does not cause a loss that is not finite
        overflow = is_loss_finite and self.loss_scale.after(finite=finite)
        with self.clock(UPDATE):
            if finite:
                self._update(gradients, weight / used * self._clipping(norm), lr)
            else:
                self.undo()
        loss, *terms = means.tolist()
        return StepReport(
            loss,
            dict(zip(self.network.term_names, terms)),
            positives=sums.positives,
            gradient_norm=norm,
            loss_scale=used,
            updated=finite,
            overflow=overflow,
            news=sums.news,
        )

    def undo(self) -> None:
        """Resets the norms' statistics to those of the last update."""
        if self.restore is not None:
            self.restore()

    def sync(self) -> None:
        """Gives all ranks the parameters and number of updates of the main one."""
        self.ranks.broadcast(list(self.parameters().values()))
        self.updates = self.ranks.from_main(self.updates)
        self._back_up()

    def parameters(self) -> dict[str, ms.Parameter]:
        """All parameters of an update, by their names in a checkpoint."""
        named = {p.name: p for p in self.network.get_parameters()}
        if self.averages is not None:
            named.update(self.averages.named)
        weights = {id(p) for p in named.values()}
        for parameter in self.update.optimizer.get_parameters():
            if id(parameter) not in weights:
                named[OPTIMIZER_PREFIX + parameter.name] = parameter
        return named

    def load(self, arrays: Mapping[str, np.ndarray], *, updates: int) -> None:
        """Sets `parameters` and `updates`; InputError if a name or a shape differs."""
        parameters = self.parameters()
        found = match(parameters, arrays)
        if found.missing or found.unexpected or found.misshaped:
            raise InputError(f"the checkpoint does not fit the run\n  {found.report()}")
        set_parameters(parameters, arrays, found.matched)
        self.updates = updates
        self._back_up()

    def _back_up(self) -> None:
        """Copies the current statistics, for `undo`."""
        if self.restore is not None:
            for kept, own in zip(self.restore.sources, self.restore.targets):
                kept.set_data(ms.Tensor(own.asnumpy().copy()))

    def _gradients(self, batches: Sequence[TrainBatch]):
        """This rank's part of an update, which stays on the device.

        Returns:
            The losses of each batch, see `Gradients`; a weight, a scalar; gradients. Weight x
            gradients are the gradients of the total summed over the positive anchors.
        """
        scale = ms.Tensor(self.loss_scale.value, ms.float32)
        losses, weight, gradients = [], None, None
        for batch in batches:
            arrays = (batch.images, batch.assigned, batch.boxes, batch.labels)
            # they share the memory of the arrays, which do not change any more
            tensors = [ms.Tensor.from_numpy(array) for array in arrays]
            numbers, normaliser, found = self.gradients(*tensors, scale)
            losses.append(numbers)
            if gradients is None:
                gradients, weight = found, normaliser
                continue
            gradients = self.weighted_sum(weight, normaliser, *gradients, *found)
            weight = ms.Tensor(1, ms.float32)
        if self.clock.precise:
            losses[-1].asnumpy()
        return losses, weight, gradients

    def _clipping(self, norm: float) -> float:
        """The factor that reduces the norm to clip_norm, at most 1."""
        return min(self.clip_norm / (norm + NORM_MARGIN), 1.0) if self.clip_norm > 0 else 1.0

    def _update(self, gradients: Sequence[ms.Tensor], factor: float, lr: float) -> None:
        decay = ema_decay(self.updates, self.ema_decay)
        numbers = [ms.Tensor(value, ms.float32) for value in (lr, factor, decay)]
        done = self.update(*numbers, *gradients)
        if self.clock.precise:
            done.asnumpy()
        self.updates += 1
