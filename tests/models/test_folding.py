import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.models.folding import fold_norms
from src.models.resnet import resnet
from src.models.ssd import SSD
from tests.networks import excite, stir_norms


def detector(backbone) -> SSD:
    return SSD(
        backbone=resnet(backbone), num_classes=3, fpn_channels=16, head_depth=2, anchors_per_cell=2
    )


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_the_same_outputs_without_norms(backbone):
    plain = stir_norms(excite(detector(backbone)))
    folded = detector(backbone)
    for name, parameter in folded.parameters_dict().items():
        parameter.set_data(plain.parameters_dict()[name].value())
    fold_norms(folded)
    images = np.random.default_rng(2).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    for found, wanted in zip(folded(ms.Tensor(images)), plain(ms.Tensor(images))):
        found, wanted = found.asnumpy(), wanted.asnumpy()
        assert wanted.std() > 0.1
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)
        assert (found != wanted).any()  # else the norms are still there
    cells = [cell for _, cell in folded.cells_and_names()]
    assert not any(isinstance(cell, nn.BatchNorm2d) for cell in cells)
    names = [parameter.name for parameter in folded.get_parameters()]
    assert len(set(names)) == len(names)
    assert "class_head.towers.4.1.bias" in names
