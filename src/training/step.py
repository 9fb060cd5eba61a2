"""One update of the weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from src.data.loader import TrainBatch
from src.data.workers import Layout
from src.errors import InputError
from src.training.cells import Copy, GlobalNorm, Gradients, LossNetwork, Update, WeightedSum
from src.training.ema import MovingAverages, ema_decay
from src.training.loss_scale import LossScale
from src.training.stopwatch import COMPUTE, UPDATE, Stopwatch
from src.weights import OPTIMIZER_PREFIX, match, set_parameters

NORM_MARGIN = 1e-6  # keeps the clipping factor finite where all gradients are zero
STATISTICS = ("moving_mean", "moving_variance")  # endings of the names of batch norms' statistics


@dataclass(frozen=True)
class StepReport:
    """What an update did.

    loss, class_loss, box_loss: of the weights before it; positives: default boxes with an object;
    gradient_norm: before clipping; loss_scale: that was used; updated: False where a number was not
    finite and the weights were left as they were; overflow: that was so because of the loss scale.
    """

    loss: float
    class_loss: float
    box_loss: float
    positives: float
    gradient_norm: float
    loss_scale: float
    updated: bool
    overflow: bool


class TrainStep:
    """From batches to updated weights, or to unchanged ones where a number is not finite.

    The loss of several batches is that of one batch with all their images: a batch's gradients
    weigh as its positives, by which its loss was divided.

    Args:
        loss_network: gives (total, class loss, box loss, positives).
        optimizer: cell on (gradients, lr) with its `parameters`.
        clip_norm: gradients are scaled down to this global norm; 0 leaves them as they are.
        loss_scale: see LossScale; None does without.
        averages: of the weights, or None.
        ema_decay: share of the averages that stays at an update.
        clock: gets the times of the parts.
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
    ):
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale or LossScale(1.0)
        self.ema_decay = ema_decay
        self.clock = clock or Stopwatch()
        self.gradients = Gradients(loss_network, optimizer.parameters).set_train(True)
        self.norm = GlobalNorm()
        self.sum = WeightedSum()
        statistics = [p for p in loss_network.get_parameters() if p.name.endswith(STATISTICS)]
        backup, self.restore = None, None
        if statistics:
            kept = ms.ParameterTuple(statistics).clone(prefix="kept")
            backup, self.restore = Copy(statistics, kept), Copy(kept, statistics)
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
        self.gradients.compile(*arrays, number)
        self.norm.compile(*gradients)
        if batches > 1:
            self.sum.compile(number, number, *gradients, *gradients)
        self.update.compile(number, number, number, *gradients)
        if self.restore is not None:
            self.restore.compile()

    def __call__(self, batches: Sequence[TrainBatch], lr: float) -> StepReport:
        """One update at learning rate lr from the batches taken together."""
        with self.clock(COMPUTE):
            losses, weight, gradients = self._gradients(batches)
            norm = self.norm(*gradients).asnumpy()
        used = self.loss_scale.value
        norm = float(norm) * weight / used
        is_loss_finite = bool(np.isfinite(losses).all())
        finite = is_loss_finite and math.isfinite(norm)
        # a loss that is not finite is none of the scale's doing
        overflow = is_loss_finite and self.loss_scale.after(finite=finite)
        with self.clock(UPDATE):
            if finite:
                self._update(gradients, weight / used * self._clipping(norm), lr)
            elif self.restore is not None:  # the forward pass has spoilt the norms' statistics
                self.restore()
        return StepReport(*map(float, losses), norm, used, finite, overflow)

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
        if self.restore is not None:
            for kept, own in zip(self.restore.sources, self.restore.targets):
                kept.set_data(ms.Tensor(arrays[own.name]))
        self.updates = updates

    def _gradients(self, batches: Sequence[TrainBatch]):
        """The losses (4,), and gradients with what they have to be multiplied by."""
        scale = ms.Tensor(self.loss_scale.value, ms.float32)
        positives, total, weight, gradients = 0.0, np.zeros(3), 1.0, None
        for batch in batches:
            arrays = (batch.images, batch.assigned, batch.boxes, batch.labels)
            tensors = [ms.Tensor(array) for array in arrays]
            losses, found = self.gradients(*tensors, scale)
            losses = losses.asnumpy().astype(np.float64)
            normaliser = max(losses[3], 1.0)
            total += losses[:3] * normaliser
            positives += losses[3]
            if gradients is None:
                gradients, weight = found, normaliser
                continue
            weights = [ms.Tensor(w, ms.float32) for w in (weight, normaliser)]
            gradients, weight = self.sum(*weights, *gradients, *found), 1.0
        normaliser = max(positives, 1.0)
        return np.append(total / normaliser, positives), weight / normaliser, gradients

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
