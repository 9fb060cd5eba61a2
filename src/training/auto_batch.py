"""`batch_size: auto`: chooses the batch size by a GPU's free memory."""

from collections.abc import Callable

import mindspore as ms

from src.config.configuration import Config
from src.config.keys import AUTO
from src.detection.anchors import build_anchors
from src.models.card_fit import GIGA, most_images
from src.models.card_memory import free_memory, update_memory
from src.models.ssd import SSD, build_ssd
from src.runtime.errors import InputError

SHARE = 0.95  # of the free memory that is used; the estimate was at most 2 % too low
LARGEST = 4096  # of the key


def fill_batch(cfg: Config, images: int, log: Callable[[str], None]) -> Config:
    """The configuration with a number as batch_size; `images` are those of the training split."""
    if cfg.batch_size != AUTO:
        return cfg
    room = free_memory(cfg.device_target, ms.get_context("device_id"))
    if room is None:
        raise InputError(
            "batch_size is auto, but MindSpore does not know the card's memory; give a number"
        )
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell, drawn=False)
    return choose_batch(cfg, images, room, network, log)


def choose_batch(
    cfg: Config, images: int, room: int, network: SSD, log: Callable[[str], None]
) -> Config:
    """The configuration with the largest batch whose update fits into `room` bytes.

    The batch is 2^n or 3 * 2^n. An update has at most lr_batch_size images, and at most all.
    """
    most = min(images, cfg.lr_batch_size) // cfg.accumulate
    most = min(max(most, 1), LARGEST, most_images(network, cfg.image_size))
    for batch in round_numbers(most):
        needed = update_memory({**cfg, "batch_size": batch}, network)
        if needed <= SHARE * room:
            text = f"batch_size auto: {batch}, which takes about {needed / GIGA:.1f} GB by estimate"
            log(f"{text}, of {room / GIGA:.1f} GB free{advice(cfg, batch)}")
            return cfg.replace(batch_size=batch)
    height, width = cfg.image_size
    raise InputError(
        f"batch_size is auto, but not even one image of {height} x {width} fits: an update takes "
        f"about {needed / GIGA:.1f} GB by estimate, and the card has {room / GIGA:.1f} GB free; "
        "use another card, or a smaller --image_size"
    )


def round_numbers(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 and so on up to `most`, the largest first."""
    powers = [1 << n for n in range(most.bit_length())]
    return sorted({n for p in powers for n in (p, 3 * p) if n <= most}, reverse=True)


def advice(cfg: Config, batch: int) -> str:
    """How to give an update the images that lr is meant for; "" if it has them."""
    update, meant = batch * cfg.accumulate, cfg.lr_batch_size
    if cfg.auto_scale_lr or update == meant:
        return ""
    text = f"; lr is meant for {meant} images per update: "
    if meant % batch == 0 and meant > update:
        return f"{text}--accumulate={meant // batch} makes as many, --auto_scale_lr=True scales it"
    return f"{text}--auto_scale_lr=True scales it"
