"""Optimizers as cells that take the learning rate with each update.

MindSpore's own nn.Momentum and nn.AdamWeightDecay are marked for removal, keep the whole schedule
among their parameters and, the latter, leave out Adam's bias correction. These are thin cells over
the same fused kernels.
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn, ops

ADAM_EPSILON = 1e-8


def is_decayed(parameter: ms.Parameter) -> bool:
    """Whether weight decay applies: to convolution weights, not to norms and biases."""
    return parameter.ndim == 4


class Momentum(nn.Cell):
    """SGD with momentum: v = momentum * v + g + decay * p; p = p - lr * v.

    Args:
        parameters: what is trained.
        momentum: share of the old velocity that stays.
        weight_decay: L2 coefficient of the convolution weights.
    """

    def __init__(
        self, parameters: Sequence[ms.Parameter], *, momentum: float, weight_decay: float
    ):
        super().__init__()
        self.parameters = ms.ParameterTuple(parameters)
        self.velocities = self.parameters.clone(prefix="velocity", init="zeros")
        self.decays = tuple(weight_decay if is_decayed(p) else 0.0 for p in parameters)
        self.momentum = momentum
        self.apply = ops.ApplyMomentum()

    def construct(self, gradients, lr):
        """One update with gradients as the parameters and lr a float32 scalar."""
        done = True
        for index, gradient in enumerate(gradients):
            parameter = self.parameters[index]
            if self.decays[index] > 0:
                gradient = gradient + self.decays[index] * parameter
            update = self.apply(parameter, self.velocities[index], lr, gradient, self.momentum)
            done = ops.depend(done, update)
        return done


class AdamW(nn.Cell):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019), bias correction included.

    Args:
        parameters: what is trained.
        betas: decay of the first and the second moment.
        weight_decay: coefficient of the convolution weights, applied as lr * decay * p.
    """

    def __init__(
        self,
        parameters: Sequence[ms.Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float,
    ):
        super().__init__()
        self.parameters = ms.ParameterTuple(parameters)
        self.first = self.parameters.clone(prefix="adam_m", init="zeros")
        self.second = self.parameters.clone(prefix="adam_v", init="zeros")
        self.decays = tuple(weight_decay if is_decayed(p) else 0.0 for p in parameters)
        self.betas = betas
        self.beta_powers = ms.ParameterTuple(
            [ms.Parameter(ms.Tensor(1.0, ms.float32), name=f"beta{i}_power") for i in (1, 2)]
        )
        self.apply = ops.AdamWeightDecay()

    def construct(self, gradients, lr):
        """One update with gradients as the parameters and lr a float32 scalar.

        The fused kernel has no bias correction: the corrected step is had by scaling its learning
        rate, its epsilon and, against the former, its decay.
        """
        power1 = self.beta_powers[0] * self.betas[0]
        power2 = self.beta_powers[1] * self.betas[1]
        spread = ops.sqrt(1 - power2)
        correction = spread / (1 - power1)
        done = ops.assign(self.beta_powers[0], power1)
        done = ops.depend(done, ops.assign(self.beta_powers[1], power2))
        for index, gradient in enumerate(gradients):
            update = self.apply(
                self.parameters[index],
                self.first[index],
                self.second[index],
                lr * correction,
                self.betas[0],
                self.betas[1],
                ADAM_EPSILON * spread,
                self.decays[index] / correction,
                gradient,
            )
            done = ops.depend(done, update)
        return done


def build_optimizer(cfg, parameters: Sequence[ms.Parameter]) -> nn.Cell:
    """The optimizer that the configuration asks for."""
    if cfg.optimizer == "adamw":
        return AdamW(parameters, weight_decay=cfg.weight_decay)
    return Momentum(parameters, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
