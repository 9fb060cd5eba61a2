"""Updates against the formulas in NumPy, on a network of two parameters."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.training.optimizer import AdamW, Momentum
from src.training.step import TrainStep

LR = 0.1


class Linear(nn.Cell):
    """loss = weight . a + bias . b, so the gradients are a and b themselves."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor(np.full((1, 2, 1, 1), 2.0, np.float32)), name="weight")
        self.bias = ms.Parameter(ms.Tensor(np.array([3.0], np.float32)), name="bias")

    def construct(self, a, b, _boxes, _labels):
        loss = (self.weight * a).sum() + (self.bias * b).sum()
        return loss, loss, loss, loss


def run(make_optimizer, gradients, *, clip_norm=0.0, loss_scale=1.0):
    """Parameters after updates with the gradients [(a, b), ...], and the reported norms."""
    network = Linear()
    optimizer = make_optimizer(network.trainable_params())
    step = TrainStep(network, optimizer, clip_norm=clip_norm, loss_scale=loss_scale)
    norms = []
    for a, b in gradients:
        a = ms.Tensor(np.array(a, np.float32).reshape(1, 2, 1, 1))
        b = ms.Tensor(np.array([b], np.float32))
        norms.append(float(step(a, b, a, b, ms.Tensor(LR, ms.float32))[4]))
    return network.weight.asnumpy().ravel(), network.bias.asnumpy(), norms


def slow_momentum(p, gradients, momentum, decay):
    velocity = np.zeros_like(p)
    for g in gradients:
        velocity = momentum * velocity + g + decay * p
        p = p - LR * velocity
    return p


def slow_adamw(p, gradients, beta1, beta2, decay):
    m = v = np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        p = p * (1 - LR * decay)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - LR * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)
    return p


GRADIENTS = [((0.5, -1.0), 2.0), ((0.1, 0.3), -1.0), ((-2.0, 0.0), 0.25)]
WEIGHT_GRADIENTS = [np.array(a) for a, _ in GRADIENTS]
BIAS_GRADIENTS = [np.array([b]) for _, b in GRADIENTS]


def test_momentum_decays_convolution_weights_alone():
    weight, bias, _ = run(lambda p: Momentum(p, momentum=0.9, weight_decay=0.2), GRADIENTS)
    expected = slow_momentum(np.full(2, 2.0), WEIGHT_GRADIENTS, 0.9, 0.2)
    np.testing.assert_allclose(weight, expected, rtol=1e-5)
    expected = slow_momentum(np.array([3.0]), BIAS_GRADIENTS, 0.9, 0.0)
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


def test_adamw_decays_convolution_weights_alone():
    weight, bias, _ = run(lambda p: AdamW(p, betas=(0.9, 0.98), weight_decay=0.2), GRADIENTS)
    expected = slow_adamw(np.full(2, 2.0), WEIGHT_GRADIENTS, 0.9, 0.98, 0.2)
    np.testing.assert_allclose(weight, expected, rtol=1e-5)
    expected = slow_adamw(np.array([3.0]), BIAS_GRADIENTS, 0.9, 0.98, 0.0)
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


@pytest.mark.parametrize("loss_scale", [1.0, 64.0])
def test_clipping_by_the_global_norm(loss_scale):
    weight, bias, norms = run(
        lambda p: Momentum(p, momentum=0.0, weight_decay=0.0),
        [((3.0, 0.0), 4.0), ((0.3, 0.0), 0.4)],
        clip_norm=1.0,
        loss_scale=loss_scale,
    )
    assert norms == pytest.approx([5.0, 0.5])
    # the first update is cut to a fifth, the second is left as it is
    np.testing.assert_allclose(weight, [2 - LR * (0.6 + 0.3), 2], rtol=1e-5)
    np.testing.assert_allclose(bias, [3 - LR * (0.8 + 0.4)], rtol=1e-5)


def test_loss_scale_without_clipping_changes_nothing():
    results = [
        run(lambda p: Momentum(p, momentum=0.9, weight_decay=0.1), GRADIENTS, loss_scale=scale)
        for scale in (1.0, 1024.0)
    ]
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-6)
