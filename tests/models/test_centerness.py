"""A third predictor whose sigmoid multiplies the scores."""

import mindspore as ms
import numpy as np
import pytest

from src.config.configuration import make_config
from src.config.open_keys import settled
from src.models.heads import SharedHead
from src.models.ssd import build_ssd, product_logit
from src.runtime.errors import InputError
from src.weights.checkpoint_file import check_run
from tests.networks import excite


def test_the_logit_of_a_product():
    logits = np.array([-60, -12, -3, -0.5, 0, 0.5, 3, 12, 60], np.float32)
    a, b = (side.ravel() for side in np.meshgrid(logits, logits))
    found = product_logit(ms.Tensor(a[:, None]), ms.Tensor(b[:, None])).asnumpy()[:, 0]
    a, b = a.astype(np.float64), b.astype(np.float64)
    expected = -np.log(np.exp(-a) + np.exp(-b) + np.exp(-a - b))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_centerness_is_the_last_output_of_each_anchor():
    head = SharedHead(
        channels=2, depth=0, levels=1, anchors_per_cell=2, outputs=3, centerness=True
    )  # fmt: skip
    for layer, bias in ((head.predictor, np.arange(6)), (head.centerness, [10, 20])):
        weight = np.zeros(layer.weight.shape, np.float32)
        weight[:, 0, 1, 1] = 1  # the first channel at its own place
        layer.weight.set_data(ms.Tensor(weight))
        layer.bias.set_data(ms.Tensor(np.float32(bias)))
    level = np.zeros((1, 2, 1, 2), np.float32)
    level[0, 0, 0] = [100, 200]
    found = head([ms.Tensor(level)]).asnumpy()[0]
    assert found.tolist() == [
        [cell + 3 * b + 0, cell + 3 * b + 1, cell + 3 * b + 2, cell + 10 * (b + 1)]
        for cell in (100, 200)
        for b in range(2)
    ]


def test_scores_are_products(small):
    cfg = small.replace(head_norm="group", centerness=True)
    anchors = 1
    network, plain = (excite(build_ssd(c, anchors)) for c in (cfg, cfg.replace(centerness=False)))
    weight = network.box_head.centerness.weight
    draw = np.random.default_rng(1).normal(0, 0.3, weight.shape).astype(np.float32)
    weight.set_data(ms.Tensor(draw))
    for parameter in plain.get_parameters():
        parameter.set_data(network.parameters_dict()[parameter.name])
    image = ms.Tensor(np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8))
    deltas, logits = (output.asnumpy()[0] for output in network(image))
    plain_deltas, plain_logits = (output.asnumpy()[0] for output in plain(image))
    np.testing.assert_allclose(deltas, plain_deltas, atol=1e-5)
    shares = (1 + np.exp(-plain_logits)) / (1 + np.exp(-logits))  # of the score that is left
    assert shares.shape[1] > 1
    np.testing.assert_allclose(shares, shares[:, :1].repeat(shares.shape[1], 1), rtol=1e-3)
    assert 0 < shares.min() < 0.3 < 0.7 < shares.max() < 1


def test_only_finetuning_may_leave_it_out():
    saved, cfg = {"centerness": True}, settled(make_config([]), {})
    check_run("a.ckpt", saved, cfg, finetuning=True)
    with pytest.raises(InputError, match="centerness: True in the checkpoint, False in the"):
        check_run("a.ckpt", saved, cfg)
