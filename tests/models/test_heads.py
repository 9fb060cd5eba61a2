"""Heads: the order of their predictions, and their layers against NumPy."""

import mindspore as ms
import numpy as np
import pytest

from src.models.heads import SharedHead
from tests.models.slow_layers import slow_conv, slow_group_norm

SIZES = ((4, 6), (2, 3), (1, 1))  # of three levels


def test_head_order_is_row_column_box():
    """A head that copies one channel shows which prediction belongs to which cell."""
    head = SharedHead(channels=2, depth=0, levels=2, anchors_per_cell=2, outputs=3)
    weight = np.zeros(head.predictor.weight.shape, np.float32)
    weight[:, 0, 1, 1] = 1  # every output is channel 0 at its own place ...
    head.predictor.weight.set_data(ms.Tensor(weight))
    numbers = np.arange(6, dtype=np.float32) * 0.1
    head.predictor.bias.set_data(ms.Tensor(numbers))  # ... plus 0.1 x (box * 3 + output)
    levels = []
    for offset, (rows, columns) in ((0, (2, 3)), (100, (1, 2))):
        values = np.zeros((1, 2, rows, columns), np.float32)
        values[0, 0] = offset + np.arange(rows * columns).reshape(rows, columns)
        levels.append(ms.Tensor(values))
    found = head(levels).asnumpy()[0]
    cells = [*range(6), 100, 101]
    expected = [[c + 0.1 * (b * 3 + o) for o in range(3)] for c in cells for b in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def draw_weights(cell, rng):
    for parameter in cell.get_parameters():
        draw = rng.normal(0.1, 0.4, parameter.shape).astype(np.float32)
        if parameter.name.endswith("moving_variance"):
            draw = np.abs(draw) + 1
        parameter.set_data(ms.Tensor(draw))


def slow_head(head, features, head_norm):
    """(A,3) for levels of (C,H,W), with the weights of the head."""
    predictions = []
    for level, x in enumerate(features):
        for index, conv in enumerate(head.convs):
            x = slow_conv(x, conv.weight.asnumpy())
            if head_norm == "none":
                x = np.maximum(x + conv.bias.asnumpy()[:, None, None], 0)
                continue
            norm = head.norms[level if head_norm == "batch" else 0][index]
            gamma, beta = norm.gamma.asnumpy(), norm.beta.asnumpy()
            if head_norm == "group":
                x = slow_group_norm(x, gamma, beta, 2)
            else:
                mean, variance = norm.moving_mean.asnumpy(), norm.moving_variance.asnumpy()
                scale = gamma / np.sqrt(variance + 1e-5)
                x = (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]
            x = np.clip(x, 0, 6)
        x = slow_conv(x, head.predictor.weight.asnumpy())
        x = x + head.predictor.bias.asnumpy()[:, None, None]
        if head.scales is not None:
            x = x * head.scales.asnumpy()[level]
        predictions.append(x.transpose(1, 2, 0).reshape(-1, 3))
    return np.concatenate(predictions)


@pytest.mark.parametrize(
    ("head_norm", "level_scale"),
    [("batch", True), ("group", False), ("group", True), ("none", False)],
)
def test_norms_and_scales_against_numpy(head_norm, level_scale):
    keys = {"channels": 16, "depth": 2, "levels": 3, "anchors_per_cell": 2, "outputs": 3}
    head = SharedHead(
        **keys,
        head_norm=head_norm,
        head_activation="relu" if head_norm == "none" else "relu6",
        level_scale=level_scale,
    ).set_train(False)
    assert len(head.norms) == (3 if head_norm == "batch" else 1)
    rng = np.random.default_rng(6)
    draw_weights(head, rng)
    features = [rng.normal(size=(2, 16, *size)).astype(np.float32) for size in SIZES]
    found = head([ms.Tensor(level) for level in features]).asnumpy()
    for row in range(2):
        expected = slow_head(head, [level[row] for level in features], head_norm)
        np.testing.assert_allclose(found[row], expected, atol=1e-4 * np.abs(expected).max())
        assert expected.std() > 0.1
        assert head_norm != "none" or expected.max() > 6  # where ReLU6 would have cut


def test_scales_start_at_one_and_have_one_dimension():
    keys = {"channels": 8, "depth": 1, "levels": 3, "anchors_per_cell": 2, "outputs": 3}
    head = SharedHead(**keys, head_norm="group", level_scale=True)
    assert head.scales.asnumpy().tolist() == [1, 1, 1]
    # weight decay is for those of more dimensions
    decayed = [parameter.name for parameter in head.trainable_params() if parameter.ndim > 1]
    assert len(head.trainable_params()) == 6
    assert decayed == ["convs.0.weight", "predictor.weight"]
