"""The pyramid against NumPy, with and without norms, and P6 of either level."""

import mindspore as ms
import numpy as np
import pytest

from src.models.fpn import FPN
from tests.models.slow_layers import slow_conv


def slow_layer(layer, x, *, stride=1, padding="same"):
    """A ConvNorm of the pyramid on (C,H,W), in inference."""
    x = slow_conv(x, layer.conv.weight.asnumpy(), stride=stride, padding=padding)
    if layer.conv.has_bias:
        return x + layer.conv.bias.asnumpy()[:, None, None]
    norm = layer.norm
    arrays = norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance
    gamma, beta, mean, variance = (array.asnumpy()[:, None, None] for array in arrays)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def slow_pyramid(fpn, levels, p6_from, fpn_relu, padding):
    """P3..P7 of C3..C5, (C,H,W) each."""
    sums = [slow_layer(layer, x) for layer, x in zip(fpn.laterals, levels)]
    for index in (1, 0):
        sums[index] = sums[index] + sums[index + 1].repeat(2, axis=1).repeat(2, axis=2)
    found = [slow_layer(layer, x) for layer, x in zip(fpn.outputs, sums)]
    below = levels[-1]
    if p6_from == "p5":
        below = np.maximum(found[-1], 0) if fpn_relu == "both" else found[-1]
    found.append(slow_layer(fpn.extras[0], below, stride=2, padding=padding))
    below = found[-1] if fpn_relu == "none" else np.maximum(found[-1], 0)
    found.append(slow_layer(fpn.extras[1], below, stride=2, padding=padding))
    return found


@pytest.mark.parametrize(
    ("p6_from", "fpn_norm", "fpn_relu", "padding"),
    [
        ("p5", "batch", "both", "same"),
        ("p5", "none", "both", "same"),
        ("c5", "batch", "both", "same"),
        ("c5", "none", "p6", "symmetric"),  # torchvision's second version
        ("p5", "none", "p6", "symmetric"),  # torchvision's first
        ("p5", "none", "none", "symmetric"),  # mmdetection's
    ],
)
def test_levels_against_numpy(p6_from, fpn_norm, fpn_relu, padding):
    rng = np.random.default_rng(7)
    fpn = FPN(
        in_channels=(3, 4, 5),
        channels=6,
        p6_from=p6_from,
        fpn_norm=fpn_norm,
        fpn_relu=fpn_relu,
        fpn_padding=padding,
    )
    fpn.set_train(False)
    assert any("gamma" in p.name for p in fpn.get_parameters()) == (fpn_norm == "batch")
    for parameter in fpn.get_parameters():
        draw = rng.normal(0.1, 0.3, parameter.shape)
        if parameter.name.endswith("moving_variance"):
            draw = np.abs(draw) + 1
        parameter.set_data(ms.Tensor(draw.astype(np.float32)))
    shapes = ((3, 12, 20), (4, 6, 10), (5, 3, 5))
    # negative values show where there is a ReLU; a backbone's have none
    levels = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    found = fpn(*(ms.Tensor(level[None]) for level in levels))
    slow = slow_pyramid(fpn, levels, p6_from, fpn_relu, padding)
    for level, expected in zip(found, slow):
        np.testing.assert_allclose(level.asnumpy()[0], expected, atol=1e-4)
        assert expected.std() > 0.1
