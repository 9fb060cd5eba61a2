import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.models.backbones import BACKBONES
from src.models.folding import FoldedHead, fold_norms, folded, shared
from src.models.layers import norm
from src.models.ssd import SSD
from tests.networks import excite, make_network, stir_norms

DEEPER = {"resnet34", "resnet101"}  # of the same blocks as the two others


def detector(backbone, head_depth: int = 1) -> SSD:
    return make_network(3, 2, backbone=backbone, fpn_channels=16, head_depth=head_depth)


@pytest.mark.parametrize("backbone", sorted(BACKBONES.keys() - DEEPER))
def test_the_same_outputs_without_norms(backbone):
    plain = stir_norms(excite(detector(backbone)))
    other = detector(backbone)
    for name, parameter in other.parameters_dict().items():
        parameter.set_data(plain.parameters_dict()[name].value())
    fold_norms(other)
    images = np.random.default_rng(2).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    for found, wanted in zip(other(ms.Tensor(images)), plain(ms.Tensor(images))):
        found, wanted = found.asnumpy(), wanted.asnumpy()
        assert wanted.std() > 0.1
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)
        assert (found != wanted).any()  # else the norms are still there
    cells = [cell for _, cell in other.cells_and_names()]
    assert not any(isinstance(cell, nn.BatchNorm2d) for cell in cells)
    names = [parameter.name for parameter in other.get_parameters()]
    assert len(set(names)) == len(names)
    shared = [name for name in names if name.startswith("class_head.towers") and "weight" in name]
    shapes = [other.parameters_dict()[name].shape for name in shared]
    assert shapes == [(16, 16, 3, 3)] + [(16, 1, 1, 1)] * 4  # one of all levels; scales


def test_heads_without_convolutions_before_the_predictor():
    head = FoldedHead(detector("resnet18", head_depth=0).class_head)
    assert [len(tower) for tower in head.towers] == [0] * 5
    x = ms.Tensor(np.ones((1, 16, 2, 2), np.float32))
    assert head.tower(4, x) is x


def drawn(rng, channels):
    return stir_norms(nn.SequentialCell([norm(channels, 0.9)]), rng)[0]


@pytest.mark.parametrize("gamma", [1.5, -0.5, 1e-3, 0])
def test_a_convolution_that_levels_share(gamma):
    """A scale of about 0 on the finest level cannot be divided by."""
    rng = np.random.default_rng(4)
    conv = nn.Conv2d(3, 4, 3, weight_init=ms.Tensor(rng.normal(size=(4, 3, 3, 3)), ms.float32))
    norms = [drawn(rng, 4) for _ in range(3)]
    norms[0].gamma.set_data(ms.Tensor(np.float32([0.7, gamma, 1.2, -1])))
    cells = shared(conv, norms)
    x = ms.Tensor(rng.normal(size=(1, 3, 6, 6)).astype(np.float32))
    for cell, one in zip(cells, norms, strict=True):
        wanted = one.set_train(False)(conv(x)).asnumpy()
        np.testing.assert_allclose(cell(x).asnumpy(), wanted, atol=1e-5)
    large = {id(p) for cell in cells for p in cell.get_parameters() if p.shape == (4, 3, 3, 3)}
    assert len(large) == 1
    assert isinstance(cells[0], nn.Conv2d) == (gamma != 0)


def test_grouped_and_biased_convolutions():
    keys = {"pad_mode": "pad", "padding": 1, "has_bias": True}
    grouped = nn.Conv2d(4, 6, 3, stride=2, group=2, **keys)
    rng = np.random.default_rng(3)
    for parameter in (grouped.weight, grouped.bias):
        parameter.set_data(ms.Tensor(rng.normal(size=parameter.shape).astype(np.float32)))
    cells = stir_norms(nn.SequentialCell([grouped, norm(6, 0.9)])).set_train(False)
    x = ms.Tensor(rng.normal(size=(1, 4, 6, 6)).astype(np.float32))
    found, wanted = folded(*cells)(x).asnumpy(), cells(x).asnumpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_norm_that_follows_no_convolution():
    network = detector("resnet18")
    network.backbone.extra = norm(8, 0.9)
    with pytest.raises(ValueError, match="backbone.extra: a norm that is not defined right after"):
        fold_norms(network)
