"""Updates against the formulas in NumPy, on networks of a few parameters."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.data.loader import TrainBatch
from src.training.ema import MovingAverages, ema_decay
from src.training.loss_scale import LossScale
from src.training.optimizer import AdamW, Momentum
from src.training.step import TrainStep

LR = 0.1


class Linear(nn.Cell):
    """loss = weight . a + bias . b, so the gradients are a and b themselves."""

    term_names = ("of_weight", "of_bias", "none")

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor(np.full((1, 2, 1, 1), 2.0, np.float32)), name="weight")
        self.bias = ms.Parameter(ms.Tensor(np.array([3.0], np.float32)), name="bias")

    def construct(self, a, b, _boxes, _labels):
        of_weight, of_bias = (self.weight * a).sum(), (self.bias * b).sum()
        one = ops.ones_like(of_bias)
        return of_weight + of_bias, of_weight, of_bias, one * 0, one


def batch(a, b):
    """A batch that `Linear` takes."""
    a, b = np.array(a, np.float32).reshape(1, 2, 1, 1), np.array([b], np.float32)
    return TrainBatch(a, b, b, b, np.array([7]), [])


def momentum(parameters):
    return Momentum(parameters, momentum=0.9, weight_decay=0.2)


def adamw(parameters):
    return AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.2)


def sgd(parameters):
    return Momentum(parameters, momentum=0.0, weight_decay=0.0)


def run(make_optimizer, gradients, **options):
    """Parameters after updates with the gradients [(a, b), ...], and the reports."""
    network = Linear()
    step = TrainStep(network, make_optimizer(network.trainable_params()), **options)
    reports = [step([batch(a, b)], LR) for a, b in gradients]
    return network.weight.asnumpy().ravel(), network.bias.asnumpy(), reports


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
    weight, bias, _ = run(momentum, GRADIENTS)
    expected = slow_momentum(np.full(2, 2.0), WEIGHT_GRADIENTS, 0.9, 0.2)
    np.testing.assert_allclose(weight, expected, rtol=1e-5)
    expected = slow_momentum(np.array([3.0]), BIAS_GRADIENTS, 0.9, 0.0)
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


def test_adamw_decays_convolution_weights_alone():
    weight, bias, _ = run(adamw, GRADIENTS)
    expected = slow_adamw(np.full(2, 2.0), WEIGHT_GRADIENTS, 0.9, 0.98, 0.2)
    np.testing.assert_allclose(weight, expected, rtol=1e-5)
    expected = slow_adamw(np.array([3.0]), BIAS_GRADIENTS, 0.9, 0.98, 0.0)
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


@pytest.mark.parametrize("batches", [1, 2])
def test_reports_name_the_terms_of_the_loss(batches):
    network = Linear()
    step = TrainStep(network, sgd(network.trainable_params()), loss_scale=LossScale(4.0))
    report = step([batch((3.0, 0.5), -1.0)] * batches, LR)
    assert report.numbers() == {
        "loss": 4.0,
        "of_weight": 7.0,
        "of_bias": -3.0,
        "none": 0.0,
        "positives": batches,
        "gradient_norm": pytest.approx((3.0**2 + 0.5**2 + 1) ** 0.5),
        "loss_scale": 4.0,
    }


@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_clipping_by_the_global_norm(scale):
    gradients = [((3.0, 0.0), 4.0), ((0.3, 0.0), 0.4)]
    weight, bias, reports = run(sgd, gradients, clip_norm=1.0, loss_scale=LossScale(scale))
    assert [r.gradient_norm for r in reports] == pytest.approx([5.0, 0.5])
    # the first update is cut to a fifth, the second is left as it is
    np.testing.assert_allclose(weight, [2 - LR * (0.6 + 0.3), 2], rtol=1e-5)
    np.testing.assert_allclose(bias, [3 - LR * (0.8 + 0.4)], rtol=1e-5)


def test_loss_scale_without_clipping_changes_nothing():
    one, other = (run(momentum, GRADIENTS, loss_scale=LossScale(s))[:2] for s in (1.0, 1024.0))
    for a, b in zip(one, other):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_dynamic_loss_scale_follows_its_rule():
    scale = LossScale(8.0, dynamic=True, window=3)
    finite = [True, True, True, False, True, True, False, True, True, True]
    helped, values = zip(*[(scale.after(finite=f), scale.value) for f in finite])
    # doubled after three in a row, halved at once, and the count starts at 0 again with each
    assert values == (8, 8, 16, 8, 8, 8, 4, 4, 4, 8)
    assert [i for i, h in enumerate(helped) if h] == [3, 6]
    again = LossScale(1.0, dynamic=True, window=3)
    again.load(scale.state())
    assert vars(again) == vars(scale)


def test_dynamic_loss_scale_has_a_floor():
    scale = LossScale(2.0, dynamic=True)
    assert [scale.after(finite=False) for _ in range(3)] == [True, False, False]
    assert scale.value == 1.0
    static = LossScale(2.0)
    assert not static.after(finite=False)
    assert static.value == 2.0


def test_gradients_that_overflow_with_the_scale_are_skipped_until_it_fits():
    # the square of 2**60 x 16 is beyond float32, that of 2**60 x 8 is not
    gradients = [((2.0**60, 0.0), 0.0)] * 4
    scale = LossScale(32.0, dynamic=True, window=100)
    weight, _, reports = run(sgd, gradients, loss_scale=scale, clip_norm=1.0)
    assert [r.updated for r in reports] == [False, False, True, True]
    assert [r.overflow for r in reports] == [True, True, False, False]
    assert [r.loss_scale for r in reports] == [32, 16, 8, 8]
    np.testing.assert_allclose(weight, [2 - 2 * LR, 2], rtol=1e-5)


def slow_ema(values, start, highest):
    average = start
    for t, value in enumerate(values):
        decay = min(highest, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * value
    return average


def test_moving_averages():
    network, averaged = Linear(), Linear()
    averages = MovingAverages(network, averaged)
    optimizer = momentum(network.trainable_params())
    step = TrainStep(network, optimizer, averages=averages, ema_decay=0.25)
    seen = []
    for a, b in GRADIENTS * 2:
        step([batch(a, b)], LR)
        seen.append((network.weight.asnumpy().ravel().copy(), network.bias.asnumpy().copy()))
    weights, biases = zip(*seen)
    expected = slow_ema(weights, np.full(2, 2.0), 0.25)
    np.testing.assert_allclose(averaged.weight.asnumpy().ravel(), expected, rtol=1e-6)
    np.testing.assert_allclose(averaged.bias.asnumpy(), slow_ema(biases, 3.0, 0.25), rtol=1e-6)
    assert averaged.weight.name == "ema.weight"


def test_ema_decay_rises_to_its_highest():
    assert [ema_decay(t, 0.5) for t in (0, 1, 8, 1000)] == [0.1, 2 / 11, 0.5, 0.5]
