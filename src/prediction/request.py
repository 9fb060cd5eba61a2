"""What is predicted on what with which detector: checked before MindSpore is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config import Layer, load_keys
from src.errors import InputError
from src.formats import SUFFIXES, check_detector, format_of
from src.prediction.sources import find_inputs


def detector_layer(given: Mapping[str, Any]) -> Layer:
    """What the checkpoint or exported file says of its detector, as a layer of the configuration.

    Args:
        given: keys that recipe and flags set.

    Raises:
        InputError: input or detector is missing, or is not what it should be.
    """
    model, checkpoint = (str(given.get(key) or "") for key in ("model", "checkpoint_path"))
    if not given.get("input"):
        raise InputError("--input is needed: an image, a folder, a pattern or a video")
    output = given.get("output", load_keys()["output"].default)
    find_inputs(str(given["input"]), Path(str(output)))
    if model and checkpoint:
        raise InputError("--checkpoint_path and --model are both given; expected one of them")
    if not (model or checkpoint):
        raise InputError("--checkpoint_path is needed, or --model with an exported detector")
    if model and not format_of(model):
        expected = " or ".join(SUFFIXES.values())
        raise InputError(f"{model}: expected {expected}; a checkpoint goes to --checkpoint_path")
    if format_of(checkpoint):
        raise InputError(f"{checkpoint}: is an exported detector, which goes to --model")
    check_detector(model or checkpoint)

    from src.detector import described

    return described(model or checkpoint), model or checkpoint
