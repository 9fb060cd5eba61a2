"""The graphs of one update: gradients, their norm and sum, and the update itself.

Gradients and update are separate graphs, so that the work between them (sums over batches and
ranks, checks for finite numbers) is plain Python. On CPU this is as fast as one graph, and needs
less memory (docs/decisions.md).

MindSpore treats tensors in a tuple argument as constants, and compiles anew for each call.
Therefore cells take a variable number of tensors as *tensors, never as a tuple.
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn, ops

from src.distributed.gradient_sum import copy_into
from src.losses.detection_loss import DetectionLoss

half_square_sum = ops.MultitypeFuncGraph("half_square_sum")
scale = ops.MultitypeFuncGraph("scale")
square_sum = ops.MultitypeFuncGraph("square_sum")
weighted_sum = ops.MultitypeFuncGraph("weighted_sum")


@half_square_sum.register("Function", "Tensor")
def _half_square_sum(kernel, gradient):
    return kernel(gradient)


@scale.register("Tensor", "Tensor")
def _scale(factor, gradient):
    return gradient * factor


@square_sum.register("Tensor")
def _square_sum(gradient):
    return (gradient * gradient).sum()


@weighted_sum.register("Tensor", "Tensor", "Tensor", "Tensor")
def _weighted_sum(weight, other_weight, gradient, other):
    return weight * gradient + other_weight * other


class LossNetwork(nn.Cell):
    """The detector and its loss: a batch in, the output of `DetectionLoss` out."""

    def __init__(self, network: nn.Cell, loss: DetectionLoss):
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = loss
        self.term_names = loss.term_names

    def construct(self, images, assigned, boxes, labels):
        deltas, logits = self.network(images)
        return self.loss(deltas, logits, assigned, boxes, labels)


class Gradients(nn.Cell):
    """Forward and backward pass of a network that returns (total, terms.., positives), scalars."""

    def __init__(self, loss_network: nn.Cell, weights: Sequence[ms.Parameter]):
        super().__init__(auto_prefix=False)
        self.loss_network = loss_network
        self.weights = ms.ParameterTuple(weights)
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, images, assigned, boxes, labels, loss_scale):
        """Returns numbers (L,), their divisor, and gradients.

        The numbers are total, terms and positives. Total and terms have been divided by the
        divisor, a scalar. The gradients, one per weight, are those of loss_scale x total.
        """
        batch = (images, assigned, boxes, labels)
        losses = self.loss_network(*batch)
        zeros = (ops.zeros_like(losses[0]),) * (len(losses) - 1)
        gradients = self.gradient(self.loss_network, self.weights)(*batch, (loss_scale, *zeros))
        return ops.stack(losses), ops.maximum(losses[-1], 1.0), gradients


class GlobalNorm(nn.Cell):
    """L2 norm of all gradients together.

    L2Loss is the fastest kernel for it on a CPU. On a GPU it adds up sequentially: 64 of 225 ms of
    an update of a ResNet50 on an H200 (docs/gpu.md).
    """

    def __init__(self):
        super().__init__()
        self.is_on_cpu = ms.get_context("device_target") == "CPU"
        self.l2_loss = ops.L2Loss()
        self.map = ops.HyperMap()

    def construct(self, *gradients):
        if self.is_on_cpu:
            halves = self.map(ops.partial(half_square_sum, self.l2_loss), gradients)
            return ops.sqrt(2 * ops.addn(halves))
        return ops.sqrt(ops.addn(self.map(square_sum, gradients)))


class Readout(nn.Cell):
    """All that the host reads of an update, in one tensor, for a single read."""

    def __init__(self):
        super().__init__()
        self.norm = GlobalNorm()

    def construct(self, numbers, *gradients):
        """Numbers (k,) -> numbers and the gradients' norm, (k + 1,)."""
        return ops.concat((numbers, self.norm(*gradients).reshape(1)))


class Totals(nn.Cell):
    """Losses of several batches, summed over the positive anchors, and news."""

    def construct(self, news, *losses):
        """News (1,) and `Gradients`' numbers (L,) of each batch -> their sums and news (L + 1,)."""
        losses = ops.stack(losses)  # (batches, L)
        positives = losses[:, -1:]  # (batches, 1)
        sums = losses[:, :-1] * ops.maximum(positives, 1.0)  # (batches, L - 1)
        return ops.concat((sums.sum(0), positives.sum(0), news))


class WeightedSum(nn.Cell):
    """Adds up two lists of gradients."""

    def __init__(self):
        super().__init__()
        self.map = ops.HyperMap()

    def construct(self, weight, other_weight, *gradients):
        """weight x each of the first half + other_weight x each of the second half."""
        half = len(gradients) // 2
        add = ops.partial(weighted_sum, weight, other_weight)
        return self.map(add, gradients[:half], gradients[half:])


class Copy(nn.Cell):
    """Copies the values of parameters, `sources`, into as many others, `targets`."""

    def __init__(self, sources: Sequence[ms.Parameter], targets: Sequence[ms.Parameter]):
        super().__init__(auto_prefix=False)
        self.sources = ms.ParameterTuple(sources)
        self.targets = ms.ParameterTuple(targets)
        self.map = ops.HyperMap()

    def construct(self):
        return self.map(copy_into, self.targets, self.sources)


class Update(nn.Cell):
    """Optimizer, moving averages of the weights, and a copy of the norms' statistics.

    Args:
        averages: cell on the decay that updates the averages of the weights, or None.
        backup: cell without arguments that copies the statistics, or None.
    """

    def __init__(
        self,
        optimizer: nn.Cell,
        *,
        averages: nn.Cell | None = None,
        backup: nn.Cell | None = None,
    ):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.averages = averages
        self.backup = backup
        self.map = ops.HyperMap()

    def construct(self, lr, factor, decay, *gradients):
        """One update with factor x gradients at learning rate lr; returns lr when done."""
        done = self.optimizer(self.map(ops.partial(scale, factor), gradients), lr)
        if self.averages is not None:
            done = ops.depend(done, self.averages(ops.depend(decay, done)))
        if self.backup is not None:
            done = ops.depend(done, self.backup())
        return ops.depend(lr * 1, done)
