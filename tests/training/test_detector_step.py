"""Updates of a network with a convolution, a norm and the detection loss."""

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
from src.training.ema import MovingAverages
from src.training.loss_scale import LossScale
from src.training.optimizer import Momentum
from src.training.step import TrainStep
from src.training.update_graphs import LossNetwork

LR = 0.1


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
    optimizer = Momentum(network.trainable_params(), momentum=0.9, weight_decay=0.2)
    return network, TrainStep(LossNetwork(network, loss), optimizer, **options)


@pytest.fixture(scope="module")
def compiled():
    """A network whose norms are trained, its step with averages, and the values at the start."""
    network, averaged = TinyDetector(), TinyDetector()
    averages = MovingAverages(network, averaged)
    _, step = detector_step(network, frozen=False, averages=averages, ema_decay=0.5)
    return network, step, everything(step)


@pytest.fixture
def trained_norms(compiled):
    """Of `compiled` the network and the step, as they were at the start."""
    network, step, start = compiled
    step.load(start, updates=0)
    step.loss_scale = LossScale(1.0)
    return network, step


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
    [(make_loss, 4, 128.0), (make_distribution_loss, 4 * BINS, 1.0)],
)
def test_accumulated_batches_equal_one_large_batch(make, numbers, scale):
    # one of the batches has no object, so the batches' losses have different divisors
    batches = [detector_batch(1), detector_batch(2, objects=False), detector_batch(3)]
    options = {"clip_norm": 0.5, "loss_scale": LossScale(scale)}
    network, step = detector_step(TinyDetector(numbers), loss=make(), **options)
    start, reports, trained = everything(step), [], []
    for one in ([joined(batches)], batches):
        step.load(start, updates=0)
        step(one, LR)
        reports.append(step(one, LR).numbers())
        trained.append(values(network))
    assert reports[1] == pytest.approx(reports[0], rel=1e-5)
    for name, value in trained[0].items():
        np.testing.assert_allclose(trained[1][name], value, rtol=1e-5, atol=1e-7)
    assert not np.allclose(trained[0]["conv.weight"], start["conv.weight"], atol=1e-3)


def test_batch_without_any_object_trains(trained_norms):
    network, step = trained_norms
    before = values(network)
    report = step([detector_batch(1, objects=False)], LR)
    assert report.updated
    assert (report.positives, report.terms["box_loss"]) == (0, 0)
    assert report.terms["class_loss"] > 0
    assert not np.array_equal(values(network)["conv.weight"], before["conv.weight"])


def everything(step):
    """All that a step changes: parameters of network, averages and optimizer."""
    return {name: p.asnumpy().copy() for name, p in step.parameters().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name


@pytest.mark.parametrize("accumulate", [1, 2])
def test_bad_batch_leaves_no_trace(trained_norms, accumulate):
    good, bad = detector_batch(1), detector_batch(2)
    bad.boxes[:] = np.nan
    bad.images[:] = 255  # would show in the norm's statistics
    _, step = trained_norms
    assert step([good] * accumulate, LR).updated
    before = everything(step)
    assert not step([good] * (accumulate - 1) + [bad], LR).updated
    assert_equal(everything(step), before)
    assert step([good] * accumulate, LR).updated
    after, updates = everything(step), step.updates
    # as without the bad one
    step.load(before, updates=1)
    assert step([good] * accumulate, LR).updated
    assert_equal(after, everything(step))
    assert updates == step.updates == 2
    assert not np.array_equal(after["norm.moving_mean"], before["norm.moving_mean"])
    # brings back statistics that were loaded, too
    loaded = {**before, "norm.moving_mean": before["norm.moving_mean"] + 1}
    step.load(loaded, updates=1)
    assert not step([bad] * accumulate, LR).updated
    assert_equal(everything(step), loaded)


def test_loss_that_is_not_finite_leaves_the_scale_as_it_is(trained_norms):
    bad = detector_batch(2)
    bad.boxes[:] = np.nan
    scale = LossScale(8.0, dynamic=True)
    _, step = trained_norms
    step.loss_scale = scale
    report = step([bad], LR)
    assert (report.updated, report.overflow, scale.value) == (False, False, 8.0)


def test_frozen_norms_stay_as_they_are():
    network, step = detector_step()
    before = values(network)
    step([detector_batch(1)], LR)
    changed = {name for name, value in values(network).items() if (value != before[name]).any()}
    assert changed == {"conv.weight", "conv.bias"}


def test_frozen_values_are_their_own_averages():
    network, averaged = TinyDetector(), TinyDetector()
    freeze([network], norms_only=True)
    averages = MovingAverages(network, averaged)
    assert [p.name for p in averages.values] == ["conv.weight", "conv.bias"]
    assert list(averages.named) == [f"ema.{p.name}" for p in network.get_parameters()]


def test_parameters_of_a_run_are_those_of_network_averages_and_optimizer(trained_norms):
    network, step = trained_norms
    names = set(step.parameters())
    own = {p.name for p in network.get_parameters()}
    trained = {p.name for p in network.trainable_params()}
    expected = own | {f"ema.{n}" for n in own} | {f"optimizer.velocity.{n}" for n in trained}
    assert names == expected


def test_float16_network_trains_as_a_float32_one_up_to_rounding(trained_norms):
    # on CPU MindSpore stores float16 and calculates in float32: slow, but the types are the same
    whole, step_of_whole = trained_norms
    halved, step_of_halved = detector_step(frozen=False)
    use_float16(halved)
    x = ms.Tensor(np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32))
    assert halved.conv(x).dtype == ms.float16
    assert halved.norm(halved.conv(x)).dtype == ms.float32
    assert {p.dtype for p in halved.get_parameters()} == {ms.float32}
    reports = []
    for step in (step_of_whole, step_of_halved):
        step.loss_scale = LossScale(256.0)
        reports.append([step([detector_batch(seed)], LR) for seed in range(3)][-1])
    for name in ("loss", "class_loss", "box_loss", "gradient_norm"):
        expected = reports[0].numbers()[name]
        assert reports[1].numbers()[name] == pytest.approx(expected, rel=1e-2)
    start = values(TinyDetector())["conv.weight"]
    one, other = (values(network)["conv.weight"] - start for network in (whole, halved))
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(other, one, atol=0.02 * np.abs(one).max())
