"""What every backbone must fulfil."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.models.backbones import BACKBONES
from src.runtime.errors import InputError


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def backbone(request):
    return BACKBONES[request.param](padding="same", norm_momentum=0.9)


def test_levels_have_strides_8_16_and_32(backbone):
    levels = backbone.set_train(False)(ms.Tensor(np.zeros((2, 3, 64, 96), np.float32)))
    sizes = [(8, 12), (4, 6), (2, 3)]
    wanted = [(2, count, *size) for count, size in zip(backbone.out_channels, sizes)]
    assert [level.shape for level in levels] == wanted


def test_stages_add_up_to_the_whole(backbone):
    names = [
        {p.name for cell in backbone.stages(count) for p in cell.get_parameters()}
        for count in range(5)
    ]
    assert names[0] == set()
    assert all(fewer < more for fewer, more in zip(names, names[1:]))
    assert names[4] == {p.name for p in backbone.get_parameters()}


def test_costs_are_those_of_every_convolution(backbone):
    convolutions = [c for _, c in backbone.cells_and_names() if isinstance(c, nn.Conv2d)]
    small, large = (
        [cost for cost in backbone.costs(size) if cost.multiply_adds]
        for size in ((32, 32), (64, 96))
    )
    assert len(small) == len(convolutions)
    assert all(b.multiply_adds == 6 * a.multiply_adds for a, b in zip(small, large))
    assert all(b.normed == 6 * a.normed for a, b in zip(small, large))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_padding_that_is_not_supported(name):
    with pytest.raises(InputError, match="padding is 'valid'; .* supports same"):
        BACKBONES[name](padding="valid", norm_momentum=0.9)
