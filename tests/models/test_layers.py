"""Convolution, normalisation, pooling and upsampling against NumPy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.models.layers import (
    conv,
    freeze,
    group_norm,
    norm,
    statistics,
    upsample2x,
    use_float16,
)  # fmt: skip
from src.models.resnet import MaxPool3x3
from tests.models.slow_layers import slow_conv, slow_group_norm, windows

GROUP_SHAPES = (2, 16, 5, 3), (16,), (2, 16, 5, 3)  # of an input, its scale and its gradient


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (1, 2)])
def test_convolution_with_both_paddings(kernel, stride, padding):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 12, 12)).astype(np.float32)
    weight = rng.normal(size=(3, 2, kernel, kernel)).astype(np.float32)
    cell = conv(2, 3, kernel, stride=stride, padding=padding)
    cell.weight.set_data(ms.Tensor(weight))
    found = cell(ms.Tensor(image[None])).asnumpy()[0]
    expected = slow_conv(image, weight, stride=stride, padding=padding)
    assert found.shape == (3, 12 // stride, 12 // stride)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_max_pooling_with_both_paddings(padding):
    image = np.random.default_rng(1).normal(-1, 1, (2, 8, 8)).astype(np.float32)
    found = MaxPool3x3(padding)(ms.Tensor(image[None])).asnumpy()[0]
    expected = windows(image, 3, 2, padding, -np.inf).max(axis=(3, 4))
    np.testing.assert_array_equal(found, expected)


def test_the_two_paddings_differ():
    image = np.random.default_rng(2).random((1, 1, 8, 8)).astype(np.float32)
    outputs = [MaxPool3x3(padding)(ms.Tensor(image)).asnumpy() for padding in ("same", "symmetric")]
    assert (outputs[0] != outputs[1]).any()


def test_unknown_padding():
    with pytest.raises(ValueError, match="expected 'same' or 'symmetric'"):
        conv(1, 1, 3, padding="valid")


def test_upsampling_repeats_pixels():
    image = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    found = upsample2x(ms.Tensor(image)).asnumpy()
    np.testing.assert_array_equal(found, image.repeat(2, axis=2).repeat(2, axis=3))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(2, 24, 5, 7), (3, 16, 1, 1)])
def test_group_norm_against_numpy(training, shape):
    rng = np.random.default_rng(4)
    x = rng.normal(3, 2, shape).astype(np.float32)
    gamma, beta = rng.normal(size=(2, shape[1])).astype(np.float32)
    cell = group_norm(shape[1]).set_train(training)
    cell.gamma.set_data(ms.Tensor(gamma))
    cell.beta.set_data(ms.Tensor(beta))
    expected = [slow_group_norm(image, gamma, beta, shape[1] // 8) for image in x]
    np.testing.assert_allclose(cell(ms.Tensor(x)).asnumpy(), expected, atol=1e-5)


class Weighted(nn.Cell):
    """The sum of a cell's outputs, times a factor each."""

    def __init__(self, cell, factor):
        super().__init__()
        self.cell, self.factor = cell, factor

    def construct(self, x):
        return (self.cell(x) * self.factor).sum()


def test_group_norm_has_the_same_gradients_in_training_as_written_out():
    rng = np.random.default_rng(5)
    x, gamma, factor = (ms.Tensor(rng.normal(size=s).astype(np.float32)) for s in GROUP_SHAPES)
    gradients = []
    for training in (True, False):
        cell = group_norm(16).set_train(training)
        cell.gamma.set_data(gamma)
        total = Weighted(cell, factor)
        of_input, of_weights = ms.grad(total, 0, cell.trainable_params())(x)
        gradients.append([of_input, *of_weights])
    for found, wanted in zip(*gradients):
        assert np.abs(wanted.asnumpy()).max() > 0.1
        np.testing.assert_allclose(found.asnumpy(), wanted.asnumpy(), atol=1e-4)


def test_groups_are_32_or_as_many_as_have_eight_channels():
    counts = {channels: group_norm(channels).num_groups for channels in (1, 7, 8, 20, 36, 64, 256)}
    assert counts == {1: 1, 7: 1, 8: 1, 20: 2, 36: 4, 64: 8, 256: 32}
    assert group_norm(1024).num_groups == 32
    assert group_norm(514).num_groups == 2  # 2 x 257


def test_group_norms_are_frozen_as_norms_and_stay_in_float32():
    cells = nn.SequentialCell([conv(3, 4, 1), group_norm(4), conv(4, 4, 1), norm(4, 0.9)])
    assert statistics(cells) == [cells[3].moving_mean, cells[3].moving_variance]
    freeze([cells], norms_only=True)
    trained = [parameter.name for parameter in cells.trainable_params()]
    assert trained == [cells[0].weight.name, cells[2].weight.name]
    assert statistics(cells) == []
    use_float16(cells)
    assert [cell.get_flags()["fp16"] for cell in cells] == [True, False, True, False]
