"""Updates against the formulas in NumPy, on networks of a few parameters."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.data.loader import TrainBatch
from src.detection.box_coder import BoxCoder, DistributionCoder
from src.losses.box_losses import GIoULoss, SmoothL1
from src.losses.class_losses import FocalLoss, QualityFocalLoss
from src.losses.detection_loss import DetectionLoss
from src.losses.distribution_loss import DistributionFocalLoss
from src.models.layers import freeze, norm, use_float16
from src.training.ema import MovingAverages, ema_decay
from src.training.loss_scale import LossScale
from src.training.optimizer import AdamW, Momentum
from src.training.step import TrainStep
from src.training.update_graphs import LossNetwork

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


class TinyDetector(nn.Cell):
    """A convolution and a norm in place of a detector: 4 anchors, 2 classes.

    Args:
        box_numbers: predicted for the box of each anchor.
    """

    def __init__(self, box_numbers=4):
        super().__init__()
        rng = np.random.default_rng(0)
        self.box_numbers = box_numbers
        count = box_numbers + 2
        self.conv = nn.Conv2d(
            3, count, 2, stride=2, pad_mode="valid", has_bias=True, bias_init="zeros"
        )
        weight = rng.normal(0, 0.1, (count, 3, 2, 2)).astype(np.float32)
        self.conv.weight.set_data(ms.Tensor(weight))
        self.norm = norm(count, 0.9)

    def construct(self, images):
        x = self.norm(self.conv(ops.cast(images, ms.float32).transpose(0, 3, 1, 2) / 255))
        x = ops.cast(x, ms.float32).reshape(x.shape[0], x.shape[1], 4).transpose(0, 2, 1)  # (N,4,C)
        return x[..., : self.box_numbers], x[..., self.box_numbers :]


ANCHORS = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 2, 4], [2, 2, 4, 4]], np.float32)
BINS = 5


def make_loss():
    box_losses = {"box_loss": SmoothL1(BoxCoder(ANCHORS), beta=1.0)}
    return DetectionLoss(FocalLoss(alpha=0.25, gamma=2.0), box_losses, box_weight=1.0)


def make_distribution_loss():
    """The loss of a network that predicts distributions, over strides of a pixel."""
    coder, distribution = BoxCoder(ANCHORS), DistributionCoder(np.array([[2.0, 2.0]]), bins=BINS)
    return DetectionLoss(
        QualityFocalLoss(coder, beta=2.0),
        {"box_loss": GIoULoss(coder)},
        box_weight=2.0,
        distribution_loss=DistributionFocalLoss(distribution, ANCHORS, np.ones(4), weight=0.25),
    )


def detector_step(network=None, *, frozen=True, loss=None, **options):
    network, loss = network or TinyDetector(), loss or make_loss()
    if frozen:
        freeze([network], norms_only=True)
    optimizer = momentum(network.trainable_params())
    return network, TrainStep(LossNetwork(network, loss), optimizer, **options)


def detector_batch(seed, *, images=2, objects=True):
    rng = np.random.default_rng(seed)
    assigned = (
        rng.integers(-1, 1, (images, 4)).astype(np.int32) if objects else -np.ones((images, 4))
    )
    return TrainBatch(
        rng.integers(0, 256, (images, 4, 4, 3), dtype=np.uint8),
        assigned.astype(np.int32),
        np.tile(np.array([[0.2, 0.1, 3.0, 3.5]], np.float32), (images, 1, 1)),
        rng.integers(0, 2, (images, 1)).astype(np.int32),
        np.arange(images) + 100 * seed,
        [],
    )


def joined(batches):
    """One batch of all images."""
    names = ("images", "assigned", "boxes", "labels", "image_ids")
    arrays = [np.concatenate([getattr(b, name) for b in batches]) for name in names]
    return TrainBatch(*arrays, [])


def values(network):
    return {p.name: p.asnumpy().copy() for p in network.get_parameters()}


@pytest.mark.parametrize(
    ("make", "numbers", "scale"),
    [(make_loss, 4, 1.0), (make_loss, 4, 128.0), (make_distribution_loss, 4 * BINS, 1.0)],
)
def test_accumulated_batches_equal_one_large_batch(make, numbers, scale):
    # one of the batches has no object, so the batches' losses have different divisors
    batches = [detector_batch(1), detector_batch(2, objects=False), detector_batch(3)]
    options = {"clip_norm": 0.5, "loss_scale": LossScale(scale)}
    one, step_of_one = detector_step(TinyDetector(numbers), loss=make(), **options)
    other, step_of_other = detector_step(TinyDetector(numbers), loss=make(), **options)
    for _ in range(2):
        report = step_of_one([joined(batches)], LR)
        accumulated = step_of_other(batches, LR)
    for name, expected in report.numbers().items():
        assert accumulated.numbers()[name] == pytest.approx(expected, rel=1e-5)
    for name, value in values(one).items():
        np.testing.assert_allclose(values(other)[name], value, rtol=1e-5, atol=1e-7)
    start = values(TinyDetector(numbers))
    assert not np.allclose(values(one)["conv.weight"], start["conv.weight"], atol=1e-3)


def test_batch_without_any_object_trains():
    network, step = detector_step(frozen=False)
    before = values(network)
    report = step([detector_batch(1, objects=False)], LR)
    assert report.updated
    assert (report.positives, report.terms["box_loss"]) == (0, 0)
    assert report.terms["class_loss"] > 0
    assert not np.array_equal(values(network)["conv.weight"], before["conv.weight"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_bad_batch_leaves_no_trace(accumulate):
    good, bad = detector_batch(1), detector_batch(2)
    bad.boxes[:] = np.nan
    bad.images[:] = 255  # would show in the norm's statistics
    runs = []
    for with_bad in (False, True):
        averaged = TinyDetector()
        network = TinyDetector()
        averages = MovingAverages(network, averaged)
        _, step = detector_step(network, frozen=False, averages=averages, ema_decay=0.5)
        reports = [step([good] * accumulate, LR)]
        if with_bad:
            reports.append(step([good] * (accumulate - 1) + [bad], LR))
        after_bad = values(network)
        reports.append(step([good] * accumulate, LR))
        runs.append((after_bad, values(network), values(averaged), step.updates))
        assert [r.updated for r in reports] == ([True, False, True] if with_bad else [True, True])
    for one, other in zip(runs[0][:3], runs[1][:3]):
        for name, value in one.items():
            assert np.array_equal(value, other[name]), name
    assert runs[0][3] == runs[1][3] == 2


def test_bad_batch_after_a_resume_brings_back_the_loaded_statistics():
    good, bad = detector_batch(1), detector_batch(2)
    bad.boxes[:] = np.nan
    first, step = detector_step(frozen=False)
    step([good], LR)
    saved = {name: p.asnumpy().copy() for name, p in step.parameters().items()}
    second, resumed = detector_step(frozen=False)
    resumed.load(saved, updates=1)
    assert not resumed([bad], LR).updated
    for name, value in values(second).items():
        assert np.array_equal(value, saved[name]), name
    assert not np.array_equal(saved["norm.moving_mean"], values(TinyDetector())["norm.moving_mean"])


def test_loss_that_is_not_finite_leaves_the_scale_as_it_is():
    bad = detector_batch(2)
    bad.boxes[:] = np.nan
    scale = LossScale(8.0, dynamic=True)
    _, step = detector_step(loss_scale=scale)
    report = step([bad], LR)
    assert (report.updated, report.overflow, scale.value) == (False, False, 8.0)


def test_frozen_norms_stay_as_they_are():
    network, step = detector_step()
    before = values(network)
    step([detector_batch(1)], LR)
    changed = {name for name, value in values(network).items() if (value != before[name]).any()}
    assert changed == {"conv.weight", "conv.bias"}


def test_parameters_of_a_run_are_those_of_network_averages_and_optimizer():
    network, averaged = TinyDetector(), TinyDetector()
    averages = MovingAverages(network, averaged)
    _, step = detector_step(network, frozen=False, averages=averages, ema_decay=0.5)
    names = set(step.parameters())
    own = {p.name for p in network.get_parameters()}
    trained = {p.name for p in network.trainable_params()}
    expected = own | {f"ema.{n}" for n in own} | {f"optimizer.velocity.{n}" for n in trained}
    assert names == expected


def test_float16_network_trains_as_a_float32_one_up_to_rounding():
    # on CPU MindSpore stores float16 and calculates in float32: slow, but the types are the same
    whole, halved = TinyDetector(), TinyDetector()
    use_float16(halved)
    x = ms.Tensor(np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32))
    assert halved.conv(x).dtype == ms.float16
    assert halved.norm(halved.conv(x)).dtype == ms.float32
    assert {p.dtype for p in halved.get_parameters()} == {ms.float32}
    reports = []
    for network in (whole, halved):
        _, step = detector_step(network, frozen=False, loss_scale=LossScale(256.0))
        reports.append([step([detector_batch(seed)], LR) for seed in range(3)][-1])
    for name in ("loss", "class_loss", "box_loss", "gradient_norm"):
        expected = reports[0].numbers()[name]
        assert reports[1].numbers()[name] == pytest.approx(expected, rel=1e-2)
    start = values(TinyDetector())["conv.weight"]
    one, other = (values(network)["conv.weight"] - start for network in (whole, halved))
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(other, one, atol=0.02 * np.abs(one).max())
