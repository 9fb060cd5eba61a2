"""Optimizers as cells that take the learning rate with each update.

MindSpore's nn.Momentum and nn.AdamWeightDecay are deprecated and keep the whole schedule among
their parameters; the latter also lacks Adam's bias correction. These are thin cells over fused
kernels.
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn, ops

ADAM_EPSILON = 1e-8
ADAM_BETA1 = 0.9

# Functions over tuples of tensors go through HyperMap: a Python loop over 200 parameters is
# unrolled into nested calls, and compiling it takes long or hits MindSpore's depth limit.
add_decay = ops.MultitypeFuncGraph("add_decay")
momentum_update = ops.MultitypeFuncGraph("momentum_update")
adamw_update = ops.MultitypeFuncGraph("adamw_update")


@add_decay.register("Float", "Bool", "Tensor", "Tensor")
def _add_decay(decay, decayed, gradient, parameter):
    return gradient + decay * parameter if decayed else gradient


@momentum_update.register("Function", "Float", "Tensor", "Tensor", "Tensor", "Tensor")
def _momentum_update(apply, momentum, lr, gradient, parameter, velocity):
    return apply(parameter, velocity, lr, gradient, momentum)


@adamw_update.register(
    "Function",
    "Tuple",
    "Float",
    "Tensor",
    "Tensor",
    "Tensor",
    "Bool",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
)
def _adamw_update(
    apply, betas, decay, lr, power1, power2, decayed, gradient, parameter, first, second
):
    done = True
    if decayed and decay > 0:
        done = ops.assign(parameter, parameter * (1 - lr * decay))
    gradient = ops.depend(gradient, done)
    return apply(
        parameter, first, second, power1, power2, lr, betas[0], betas[1], ADAM_EPSILON, gradient
    )


def is_decayed(parameter: ms.Parameter) -> bool:
    """Whether weight decay applies: to convolution weights, not to norms and biases."""
    return parameter.ndim > 1


class Momentum(nn.Cell):
    """SGD with momentum: v = momentum * v + g + decay * p; p = p - lr * v.

    The decay applies to convolution weights only.
    """

    def __init__(self, parameters: Sequence[ms.Parameter], *, momentum: float, weight_decay: float):
        super().__init__()
        self.parameters = ms.ParameterTuple(parameters)
        self.velocities = self.parameters.clone(prefix="velocity", init="zeros")
        self.decayed = tuple(is_decayed(p) for p in parameters)
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.apply = ops.ApplyMomentum()
        self.map = ops.HyperMap()

    def construct(self, gradients, lr):
        """One update; gradients in the order of the parameters, lr a float32 scalar."""
        # decay first, for all: MindSpore's GPU pass joins the updates into one kernel, and finds a
        # cycle where a parameter is read between two of them
        decay = ops.partial(add_decay, self.weight_decay)
        gradients = self.map(decay, self.decayed, gradients, self.parameters)
        update = ops.partial(momentum_update, self.apply, self.momentum, lr)
        return self.map(update, gradients, self.parameters, self.velocities)


class AdamW(nn.Cell):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019), bias correction included.

    Args:
        parameters: to train.
        betas: decay of the first and the second moment; in a run of a few hundred updates 0.999 for
            the second keeps the large gradients of the start for too long.
        weight_decay: coefficient of the convolution weights, applied as lr * decay * p.
    """

    def __init__(
        self,
        parameters: Sequence[ms.Parameter],
        *,
        betas: tuple[float, float],
        weight_decay: float,
    ):
        super().__init__()
        self.parameters = ms.ParameterTuple(parameters)
        self.first = self.parameters.clone(prefix="adam_m", init="zeros")
        self.second = self.parameters.clone(prefix="adam_v", init="zeros")
        self.decayed = tuple(is_decayed(p) for p in parameters)
        self.weight_decay = weight_decay
        self.betas = betas
        self.beta_powers = ms.ParameterTuple(
            [ms.Parameter(ms.Tensor(1.0, ms.float32), name=f"beta{i}_power") for i in (1, 2)]
        )
        self.apply = ops.Adam()
        self.map = ops.HyperMap()

    def construct(self, gradients, lr):
        """One update; gradients in the order of the parameters, lr a float32 scalar."""
        power1 = self.beta_powers[0] * self.betas[0]
        power2 = self.beta_powers[1] * self.betas[1]
        update = ops.partial(
            adamw_update, self.apply, self.betas, self.weight_decay, lr, power1, power2
        )
        done = self.map(update, self.decayed, gradients, self.parameters, self.first, self.second)
        done = ops.depend(done, ops.assign(self.beta_powers[0], power1))
        return ops.depend(done, ops.assign(self.beta_powers[1], power2))


def build_optimizer(cfg, parameters: Sequence[ms.Parameter]) -> nn.Cell:
    """The configured optimizer."""
    if cfg.optimizer == "adamw":
        betas = (ADAM_BETA1, cfg.adam_beta2)
        return AdamW(parameters, betas=betas, weight_decay=cfg.weight_decay)
    return Momentum(parameters, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
