"""A look for cards before a data set is read, without MindSpore where there seem to be some."""

from pathlib import Path

DEVICE_FOLDER = Path("/dev")
# files of a card's driver: of NVIDIA's, of it under Windows, and of Ascend's
DRIVER_FILES = {"GPU": ("nvidia[0-9]*", "dxg"), "Ascend": ("davinci[0-9]*",)}


def check_cards(target: str) -> None:
    """InputError where `device_target` is GPU or Ascend and this machine has no such card.

    Where a driver's files are there, that MindSpore can use the card shows later.
    """
    if target not in DRIVER_FILES or has_driver(target):
        return

    from src.runtime.device import find_cards  # imports MindSpore, which takes seconds

    find_cards(target)


def has_driver(target: str) -> bool:
    """Whether this machine has a driver's files of such a card."""
    return any(any(DEVICE_FOLDER.glob(pattern)) for pattern in DRIVER_FILES[target])


def has_card(target: str) -> bool:
    """Whether MindSpore can use a GPU or Ascend card here; it is imported where there is one."""
    if target not in DRIVER_FILES or not has_driver(target):
        return False

    from src.runtime.plugins.plugin import probe

    return probe(target).can_run
