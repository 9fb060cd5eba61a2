"""Convolution, pooling and upsampling against plain Python."""

import math

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


def pads(side, kernel, stride, padding):
    """Pixels of padding before and after, as TensorFlow ("same") or PyTorch ("symmetric") do."""
    if padding == "symmetric":
        return kernel // 2, kernel // 2
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def windows(image, kernel, stride, padding, fill):
    """(C,H,W) -> (C,H',W',kernel,kernel): what each output position looks at."""
    before, after = pads(image.shape[1], kernel, stride, padding)
    padded = np.pad(image, ((0, 0), (before, after), (before, after)), constant_values=fill)
    side = (padded.shape[1] - kernel) // stride + 1
    rows = []
    for y in range(side):
        for x in range(side):
            top, left = y * stride, x * stride
            rows.append(padded[:, top : top + kernel, left : left + kernel])
    return np.stack(rows, axis=1).reshape(image.shape[0], side, side, kernel, kernel)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (1, 2)])
def test_convolution_with_both_paddings(kernel, stride, padding):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 12, 12)).astype(np.float32)
    weight = rng.normal(size=(3, 2, kernel, kernel)).astype(np.float32)
    cell = conv(2, 3, kernel, stride=stride, padding=padding)
    cell.weight.set_data(ms.Tensor(weight))
    found = cell(ms.Tensor(image[None])).asnumpy()[0]
    expected = np.einsum("chwij,ocij->ohw", windows(image, kernel, stride, padding, 0), weight)
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
    expected = np.empty(shape)
    for n in range(shape[0]):
        for first in range(0, shape[1], 8):  # groups of eight channels
            group = x[n, first : first + 8].astype(np.float64)
            scaled = (group - group.mean()) / math.sqrt(group.var() + 1e-5)
            for channel in range(8):
                own = first + channel
                expected[n, own] = scaled[channel] * gamma[own] + beta[own]
    np.testing.assert_allclose(cell(ms.Tensor(x)).asnumpy(), expected, atol=1e-5)


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
