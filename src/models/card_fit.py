"""Which updates a card has room for: warnings and refusals before, advice after."""

from collections.abc import Iterator, Mapping

from src.detection.anchors import level_shapes
from src.models.card_memory import update_memory
from src.models.costs import Size
from src.models.ssd import SSD
from src.runtime.errors import InputError
from src.runtime.text import count

GIGA = 1e9
MOST_ELEMENTS = 1 << 31  # of a tensor on a GPU, by MindSpore's own check at the first update


def largest_tensor(network: SSD, image_size: Size) -> int:
    """Elements of the largest tensor that an image of (height, width) makes, in either pass."""
    layers = [layer for part in network.costs(image_size).values() for layer in part]
    cells = sum(height * width for height, width in level_shapes(image_size))
    logits = cells * network.class_head.predictor.out_channels
    return max(logits, *(layer.normed for layer in layers))


def most_images(network: SSD, image_size: Size) -> int:
    """Images whose largest tensor a GPU takes."""
    return MOST_ELEMENTS // largest_tensor(network, image_size)


def check_tensors(cfg: Mapping, network: SSD) -> None:
    """InputError if a batch makes a tensor that MindSpore refuses on a GPU."""
    if cfg["device_target"] != "GPU":
        return
    most, (height, width) = most_images(network, cfg["image_size"]), cfg["image_size"]
    keys = ("batch_size", "eval_batch_size") if cfg["eval_interval"] else ("batch_size",)
    for key in keys:
        if cfg[key] > most:
            way = f"--{key}={most} is the largest"
            if key == "batch_size":
                batch, accumulate = next(halved(cfg[key], cfg["accumulate"], most), (0, 0))
                if batch:
                    way = f"--batch_size={batch} --accumulate={accumulate} is the same update"
            raise InputError(
                f"{key} is {cfg[key]}, but a GPU takes at most {most} images of {height} x {width} "
                f"at once: MindSpore refuses tensors of more than 2^31 elements there; {way}"
            )


def halved(batch: int, accumulate: int, most: int | None) -> Iterator[tuple[int, int]]:
    """Smaller batches of at most `most` images, with `accumulate` for as many to an update."""
    while batch % 2 == 0:
        batch, accumulate = batch // 2, accumulate * 2
        if most is None or batch <= most:
            yield batch, accumulate


def describe_update(cfg: Mapping, needed: float, room: int) -> str:
    """An update, its estimate and the card, in words."""
    verb = "takes" if cfg["batch_size"] == 1 else "take"
    return (
        f"{images_of(cfg)} {verb} about {needed / GIGA:.1f} GB by estimate, and the card has "
        f"{room / GIGA:.1f} GB free"
    )


def images_of(cfg: Mapping) -> str:
    """The images of a batch, in words."""
    height, width = cfg["image_size"]
    return f"{count(cfg['batch_size'], 'image')} of {height} x {width} in {cfg['precision']}"


def advice_before(cfg: Mapping, network: SSD, room: int | None) -> str:
    """A warning in a line if a card has too little memory for an update, else "".

    `room` is its free memory in bytes; None if it is not known.
    """
    if room is None or (needed := update_memory(cfg, network)) <= room:
        return ""
    return (
        f"warning: {describe_update(cfg, needed, room)}, so it may run out of memory; "
        f"{smaller_update(cfg, network, room)}"
    )


def smaller_update(cfg: Mapping, network: SSD, room: int) -> str:
    """Flags of an update of as many images that fits, or what else to change."""
    for batch, accumulate in halved(cfg["batch_size"], cfg["accumulate"], None):
        smaller = {**cfg, "batch_size": batch, "accumulate": accumulate}
        if update_memory(smaller, network) <= room:
            return (
                f"--batch_size={batch} --accumulate={accumulate} fits, "
                "with as many images to an update"
            )
    return "use a smaller --batch_size or --image_size, or --precision=float16"


def advice_after(cfg: Mapping, network: SSD, room: int | None) -> str:
    """What an update asked for where a device ran out of memory, and what to change.

    `room` was the card's free memory before the run; None on CPU or if it is not known.
    """
    said = images_of(cfg)
    if room is not None:
        needed = update_memory(cfg, network)
        said = describe_update(cfg, needed, room) + " at the start"
        if needed > room:
            return f"{said}; {smaller_update(cfg, network, room)}"
        said += ", so something else takes the rest"
    for batch, accumulate in halved(cfg["batch_size"], cfg["accumulate"], None):
        return f"{said}; --batch_size={batch} --accumulate={accumulate} takes about half as much"
    return f"{said}; use a smaller --batch_size or --image_size"


def advice_after_forward(cfg: Mapping, key: str = "eval_batch_size") -> str:
    """The same for forward passes, of as many images as the `key` says."""
    batch, (height, width) = max(cfg[key], 1), cfg["image_size"]
    text = f"forward passes of {count(batch, 'image')} ({key}) of {height} x {width}"
    if batch == 1:
        return f"{text}; use a smaller --image_size"
    return f"{text}; --{key}={batch // 2} takes about half as much"
