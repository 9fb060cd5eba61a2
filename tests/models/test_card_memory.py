"""The estimate of a card's memory: small cases counted by hand, the network's own weights."""

from functools import lru_cache
from types import SimpleNamespace

import mindspore as ms
import pytest

from src.detection.anchors import build_anchors
from src.models.card_fit import advice_after, advice_before, check_tensors, most_images
from src.models.card_memory import free_of, memory_by_part, memory_of_card
from src.models.ssd import build_ssd
from src.runtime.errors import InputError
from src.runtime.plugins.nvidia_cards import read_cards
from tests import networks

TINY = {
    "batch_size": 1,
    "image_size": (32, 32),
    "backbone": "resnet18",
    "fpn_channels": 8,
    "head_depth": 1,
    "num_classes": 3,
}
BASE = {
    "batch_size": 16,
    "image_size": (640, 640),
    "precision": "float32",
    "optimizer": "momentum",
    "ema_decay": 0.0,
    "accumulate": 1,
}
GIGA = 1e9
NETWORK_KEYS = (
    "backbone", "fpn_channels", "head_depth", "head_norm", "level_scale", "p6_from",
    "fpn_norm",
)  # fmt: skip


make_network = lru_cache(networks.make_network)


def estimate(num_classes=80, **keys) -> dict[str, float]:
    """The estimate of a network of NETWORK_KEYS, by default the base recipe's."""
    own = {key: keys.pop(key) for key in NETWORK_KEYS if key in keys}
    return memory_by_part({**BASE, **keys}, make_network(num_classes, **own))


def test_tensors_counted_by_hand():
    found = estimate(**TINY)
    # pixels, the norm's input and the ReLU's output, the pooling's output
    stem = 3 * 32 * 32 + 2 * 64 * 16 * 16 + 64 * 8 * 8
    # two blocks of two convolutions with their ReLUs; from layer2 on a projection
    stages = (8 * 64) * 64 + (9 * 128) * 16 + (9 * 256) * 4 + (9 * 512) * 1
    assert found["backbone"] == 4 * (stem + stages)
    # P3..P7 are of 16, 4, 1, 1 and 1 pixels
    assert found["fpn"] == 4 * 8 * (4 * (16 + 4 + 1) + 2 * (1 + 2 * 1))
    assert found["heads"] == 4 * 2 * 3 * 8 * 23
    assert found["loss"] == 4 * 8 * (23 * 6 * 3)
    # the pool's first GiB, and 1,224 MiB outside of it
    assert sum(found.values()) == (1024 + 1224) << 20


def test_options_of_the_network():
    plain = estimate(**TINY, precision="float16")
    found = estimate(**TINY, precision="float16", fpn_norm="none", p6_from="c5", level_scale=True)
    # inputs of eight norms in float32, and the ReLU of P5 in float16
    assert plain["fpn"] - found["fpn"] == 8 * (4 * 2 * (16 + 4 + 1) + 4 * 2 * 1 + 2 * 1)
    assert found["heads"] - plain["heads"] == 4 * 23 * 6 * 4  # predicted boxes in float32
    assert estimate(**TINY, head_norm="group")["heads"] == estimate(**TINY)["heads"]


def test_norms_of_a_float16_network_are_counted_in_float32():
    found = estimate(**TINY, precision="float16")
    inputs_of_norms = 64 * 16 * 16 + (4 * 64) * 64 + (5 * 128) * 16 + (5 * 256) * 4 + (5 * 512) * 1
    others = 3 * 32 * 32 + 64 * 16 * 16 + 64 * 8 * 8  # of the stem
    others += (4 * 64) * 64 + (4 * 128) * 16 + (4 * 256) * 4 + (4 * 512) * 1
    assert found["backbone"] == 4 * inputs_of_norms + 2 * others
    assert found["fpn"] == 8 * ((4 + 2) * 2 * (16 + 4 + 1) + (4 + 2) * 2 * 1 + 2 * 2 * 1)
    assert found["heads"] == 2 * (4 + 2 + 2) * 8 * 23


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_all_but_weights_grow_with_the_images(precision):
    keys = {**TINY, "precision": precision}
    one, two = (estimate(**{**keys, "batch_size": n}) for n in (1, 2))
    for part in ("backbone", "fpn", "heads", "loss"):
        assert two[part] == 2 * one[part]
    assert two["weights"] == one["weights"]


def test_loss_is_in_float32():
    half = estimate(**TINY, precision="float16")
    assert half["loss"] == estimate(**TINY)["loss"]


def weights(**keys) -> float:
    return estimate(**{**TINY, **keys})["weights"]


def test_copies_of_the_weights():
    count = weights() / (4 * 3)  # weights, gradients, velocities
    assert weights(optimizer="adamw") == 4 * 4 * count
    assert weights(ema_decay=0.9) == 4 * 4 * count
    assert weights(accumulate=2) == 4 * 4 * count
    assert weights(precision="float16") == (4 * 3 + 2) * count


@pytest.mark.parametrize(
    "keys",
    [
        {"backbone": "resnet18", "fpn_channels": 16, "head_depth": 1},
        {"backbone": "resnet50", "fpn_channels": 8, "head_depth": 0},
        {"head_norm": "group", "level_scale": True, "p6_from": "c5", "fpn_norm": "none"},
    ],
)
def test_weights_are_the_networks(small, keys):
    cfg = small.replace(**keys)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    own = sum(parameter.size for parameter in network.trainable_params())
    found = memory_by_part(cfg.replace(optimizer="momentum"), network)
    assert found["weights"] == 4 * 3 * own


@pytest.mark.parametrize(("precision", "alive"), [("float32", 17.03), ("float16", 13.58)])
def test_against_the_compiled_graph(precision, alive):
    # GB alive at the peak of the graph of gradients that was compiled for a GPU, weights aside
    found = estimate(**{**BASE, "precision": precision})
    counted = sum(found[part] for part in ("backbone", "fpn", "heads", "loss"))
    assert counted == pytest.approx(alive * GIGA, rel=0.04)


def test_against_the_pool_of_a_card():
    # an H200's pool had a peak of 17.93 GB, which are 17 blocks of 1 GiB; 1,224 MiB come on top
    assert sum(estimate(**BASE).values()) == (17 * 1024 + 1224) << 20


@pytest.mark.parametrize(("images", "process"), [(4, 6344), (16, 16584), (192, 180_424)])
def test_against_the_process_on_a_card(images, process):
    """MiB by nvidia-smi on an H100, with AdamW; 192 images by the line through the others.

    That network predicted distributions and had another loss, of fewer logits.
    """
    base = {**BASE, "batch_size": images, "optimizer": "adamw"}
    found = memory_by_part(base, make_network(num_classes=4))
    assert process <= sum(found.values()) / (1 << 20) <= 1.07 * process


def test_small_card_is_told():
    line = advice_before(BASE, make_network(80), int(16.9 * GIGA))
    assert line.startswith("warning: 16 images of 640 x 640 in float32 take about 19.5 GB")
    assert "the card has 16.9 GB free" in line
    assert line.endswith("--batch_size=8 --accumulate=2 fits, with as many images to an update")


def test_smaller_cards_get_smaller_batches():
    def advised(room, **keys):
        return advice_before({**BASE, **keys}, make_network(80), int(room * GIGA))

    assert "--batch_size=4 --accumulate=8 fits" in advised(8, accumulate=2)
    assert "--precision=float16" in advised(1)
    assert "smaller --batch_size" in advised(9, batch_size=9)


@pytest.mark.parametrize(
    ("card", "precision"), [(24 * GIGA, "float32"), (16.9 * GIGA, "float16"), (None, "float32")]
)
def test_card_that_is_large_enough_or_unknown(card, precision):
    assert advice_before({**BASE, "precision": precision}, make_network(80), card) == ""


def test_cpu_is_not_asked():
    assert memory_of_card("CPU", 0) is None


def test_card_is_asked_for_its_memory(monkeypatch):
    asked = []

    def properties(device_id, target):
        asked.append((device_id, target))
        return SimpleNamespace(total_memory=80 << 30)

    monkeypatch.setattr(ms.hal, "get_device_properties", properties)
    assert memory_of_card("GPU", 3) == 80 << 30
    assert asked == [(3, "GPU")]


@pytest.mark.parametrize("error", [RuntimeError, ValueError, AttributeError])
def test_card_that_does_not_tell(monkeypatch, error):
    def properties(device_id, target):
        raise error("no such device")

    monkeypatch.setattr(ms.hal, "get_device_properties", properties)
    assert memory_of_card("GPU", 0) is None


SMI = "NVIDIA H100 80GB HBM3, 81559, {used}, 580.65.06, GPU-{i}"


@pytest.mark.parametrize(
    ("device_id", "total", "free"),
    [(1, 81079, 78940), (0, 81079, 81074), (2, 81079, 81079), (1, 20000, 20000)],
)
def test_memory_that_others_use_is_not_free(device_id, total, free):
    cards = read_cards("\n".join(SMI.format(used=used, i=i) for i, used in enumerate((5, 2139))))
    assert free_of(cards, device_id, total << 20) == free << 20


def config_of(**keys) -> dict:
    return {**BASE, "eval_batch_size": 16, "eval_interval": 1, "device_target": "GPU", **keys}


def test_tensors_that_a_gpu_refuses():
    assert most_images(make_network(80), (640, 640)) == 327  # x 64 x 320 x 320 < 2^31
    for fine in ({"batch_size": 327}, {"batch_size": 512, "device_target": "CPU"}):
        check_tensors(config_of(**fine), make_network(80))
    with pytest.raises(InputError, match="at most 327 .*--batch_size=256 --accumulate=2 is the"):
        check_tensors(config_of(batch_size=512), make_network(80))
    with pytest.raises(InputError, match="eval_batch_size is 400.*--eval_batch_size=327"):
        check_tensors(config_of(eval_batch_size=400), make_network(80))


def test_advice_after_the_memory_did_not_suffice():
    big = advice_after(config_of(batch_size=192), make_network(80), int(82.8 * GIGA))
    assert "82.8 GB free at the start; --batch_size=48 --accumulate=4 fits" in big
    shared = advice_after(config_of(), make_network(80), int(82.8 * GIGA))
    assert "something else takes the rest; --batch_size=8 --accumulate=2" in shared
    cpu = advice_after(config_of(batch_size=1), make_network(80), None)
    assert cpu.endswith("float32; use a smaller --batch_size or --image_size")
