"""`batch_size: auto`: the largest batch that fits into what is free, or a refusal."""

import pytest

from src.config.configuration import make_config
from src.config.consistency import check_auto_batch
from src.models.ssd import SSD
from src.runtime.errors import InputError
from src.training.auto_batch import choose_batch, fill_batch, round_numbers
from src.training.resume import with_batch_of
from tests.networks import make_network

GIGA = 1_000_000_000


@pytest.fixture(scope="module")
def network() -> SSD:
    return make_network(num_classes=80)


def config(**keys):
    given = {"batch_size": "auto", "device_target": "GPU", **keys}
    return make_config([(given, "the test")])


def chosen(network, room, images=10_000, **keys):
    lines = []
    found = choose_batch(config(**keys), images, room, network, lines.append)
    return found.batch_size, lines[0]


@pytest.mark.parametrize(
    ("room", "keys", "batch"),
    [
        # about 1.1 GB an image of 640 px, and 2 GB: 64 take 73, 48 take 55
        (82_800_000_000, {}, 64),
        (70 * GIGA, {}, 48),
        (8 * GIGA, {}, 4),
        (82_800_000_000, {"lr_batch_size": 8}, 8),
        (82_800_000_000, {"accumulate": 8}, 16),
        (82_800_000_000, {"images": 50}, 48),
        (1000 * GIGA, {"lr_batch_size": 1000}, 256),  # at most 327 in a tensor
    ],
)
def test_the_largest_batch_that_fits(network, room, keys, batch):
    assert chosen(network, room, **keys)[0] == batch


def test_the_line_says_how_the_rate_fits(network):
    line = chosen(network, 82_800_000_000)[1]
    assert line.startswith("batch_size auto: 64, which takes about 7")
    assert "of 82.8 GB free; lr is meant for 128 images per update: --accumulate=2 makes" in line
    assert chosen(network, 82_800_000_000, accumulate=8)[1].endswith("GB free")
    assert chosen(network, 82_800_000_000, auto_scale_lr=True)[1].endswith("GB free")


def test_a_card_without_room_for_one_image(network):
    with pytest.raises(InputError, match="not even one image of 640 x 640 fits.* 2.0 GB free"):
        chosen(network, 2 * GIGA)


def test_round_numbers():
    assert round_numbers(17) == [16, 12, 8, 6, 4, 3, 2, 1]


def test_refusals():
    with pytest.raises(InputError, match="device_target is CPU; .*--batch_size=16"):
        check_auto_batch(config(device_target="CPU"), 1)
    with pytest.raises(InputError, match="is for one rank, but there are 8"):
        check_auto_batch(config(), 8)
    check_auto_batch(config(), 1)
    check_auto_batch(config(batch_size=4, device_target="CPU"), 8)
    with pytest.raises(InputError, match="batch_size is 'most'; expected int 1..4096 or auto"):
        config(batch_size="most")
    with pytest.raises(InputError, match="does not know the card's memory; give a number"):
        fill_batch(config(device_target="CPU"), 100, print)


def test_a_number_stays_and_a_resumed_run_keeps_its_own():
    cfg = config(batch_size=12)
    assert fill_batch(cfg, 100, print) is cfg
    assert with_batch_of(cfg, {"batch_size": 48}).batch_size == 12
    assert with_batch_of(config(), {"batch_size": 48}).batch_size == 48
