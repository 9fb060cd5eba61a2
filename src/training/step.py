"""One update of the weights, as a cell in graph mode."""

from mindspore import nn, ops

half_square_sum = ops.MultitypeFuncGraph("half_square_sum")
scale = ops.MultitypeFuncGraph("scale")


@half_square_sum.register("Function", "Tensor")
def _half_square_sum(kernel, gradient):
    return kernel(gradient)


@scale.register("Tensor", "Tensor")
def _scale(factor, gradient):
    return gradient * factor


class LossNetwork(nn.Cell):
    """The detector and its loss: from a batch to the losses of `losses.DetectionLoss`."""

    def __init__(self, network: nn.Cell, loss: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = loss

    def construct(self, images, assigned, boxes, labels):
        deltas, logits = self.network(images)
        return self.loss(deltas, logits, assigned, boxes, labels)


class TrainStep(nn.Cell):
    """Forward, backward, clipping and update in one graph.

    A cell rather than a function under `ms.jit`, which is slower on CPU.

    Args:
        loss_network: gives (total, class loss, box loss, positives).
        optimizer: cell on (gradients, lr) with its `parameters`.
        clip_norm: gradients are scaled down to this global norm; 0 leaves them as they are.
        loss_scale: the loss is multiplied by it before the backward pass and gradients divided by
            it after, which keeps small float16 gradients from vanishing.
    """

    def __init__(
        self, loss_network: LossNetwork, optimizer: nn.Cell, *, clip_norm: float, loss_scale: float
    ):
        super().__init__(auto_prefix=False)
        self.loss_network = loss_network
        self.optimizer = optimizer
        self.weights = optimizer.parameters
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)
        self.l2_loss = ops.L2Loss()
        self.map = ops.HyperMap()

    def construct(self, images, assigned, boxes, labels, lr):
        """One update at learning rate lr.

        Returns:
            (5,) float32: total, class and box loss, positives, and the global gradient norm.
        """
        batch = (images, assigned, boxes, labels)
        total, class_loss, box_loss, positives = self.loss_network(*batch)
        zero = ops.zeros_like(total)
        sens = (ops.full_like(total, self.loss_scale), zero, zero, zero)
        gradients = self.gradient(self.loss_network, self.weights)(*batch, sens)
        norm = self.global_norm(gradients) / self.loss_scale
        factor = ops.ones_like(norm) / self.loss_scale
        if self.clip_norm > 0:
            factor = factor * ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        if self.clip_norm > 0 or self.loss_scale != 1:
            gradients = self.map(ops.partial(scale, factor), gradients)
        done = self.optimizer(gradients, lr)
        report = ops.stack([total, class_loss, box_loss, positives, norm])
        return ops.depend(report, done)

    def global_norm(self, gradients):
        """L2 norm of all gradients together, by the kernel that is fastest on CPU."""
        halves = self.map(ops.partial(half_square_sum, self.l2_loss), gradients)
        return ops.sqrt(2 * ops.addn(halves))
