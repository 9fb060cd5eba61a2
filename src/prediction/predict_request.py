"""Checks of the keys for prediction, before MindSpore is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config.configuration import Layer
from src.config.keys import load_keys
from src.deploy.formats import chosen_detector
from src.prediction.sources import find_inputs
from src.runtime.errors import InputError


def detector_layer(given: Mapping[str, Any]) -> Layer:
    """The keys in the checkpoint or exported file, as a layer of the configuration.

    Args:
        given: keys that recipe and flags set.

    Raises:
        InputError: input or detector is missing or invalid.
    """
    if not given.get("input"):
        raise InputError("--input is needed: an image, a folder, a pattern or a video")
    output = given.get("output", load_keys()["output"].default)
    find_inputs(str(given["input"]), Path(str(output)))
    path = chosen_detector(given)

    from src.prediction.detector import detector_config

    return detector_config(path), path
