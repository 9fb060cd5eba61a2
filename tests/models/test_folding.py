import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.models.backbones import BACKBONES, build_backbone
from src.models.folding import fold_norms, folded
from src.models.layers import norm
from src.models.ssd import SSD
from tests.networks import excite, stir_norms

DEEPER = {"resnet34", "resnet101"}  # of the same blocks as the two others


def detector(backbone) -> SSD:
    return SSD(
        backbone=build_backbone(backbone),
        num_classes=3,
        fpn_channels=16,
        head_depth=1,
        anchors_per_cell=2,
    )


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
    assert "class_head.towers.4.0.bias" in names


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
