"""Looks for cards before a data set is read, by the files of their drivers."""

from pathlib import Path

DEVICE_FOLDER = Path("/dev")
# files of a card's driver: of NVIDIA's, of it under Windows, and of Ascend's
DRIVER_FILES = {"GPU": ("nvidia[0-9]*", "dxg"), "Ascend": ("davinci[0-9]*",)}


def check_cards(target: str) -> None:
    """InputError if `target` is GPU or Ascend and this machine has no such card.

    If a driver's files exist, MindSpore finds out later whether it can use the card.
    """
    if target not in DRIVER_FILES or has_driver(target):
        return

    from src.runtime.device import find_cards  # imports MindSpore, which takes seconds

    find_cards(target)


def has_driver(target: str) -> bool:
    """Whether this machine has a driver's files of such a card."""
    return any(any(DEVICE_FOLDER.glob(pattern)) for pattern in DRIVER_FILES[target])


def has_card(target: str) -> bool:
    """Whether MindSpore can use a GPU or Ascend card here; imported only if there may be one."""
    if target not in DRIVER_FILES or not has_driver(target):
        return False

    from src.runtime.plugins.plugin import probe

    return probe(target).can_run
