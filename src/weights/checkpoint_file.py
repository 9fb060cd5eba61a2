"""Reads and atomically writes MindSpore checkpoints: weights and information about the run."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import yaml

from src.config.configuration import Config
from src.config.consistency import differences
from src.config.keys import load_keys, with_new_names
from src.config.open_keys import OPEN, USUAL, treatment
from src.runtime.errors import InputError, RunError
from src.runtime.files import FILE_MODE
from src.runtime.near_path import no_file
from src.weights.checkpoint_config import (
    CONFIG,
    NETWORK_KEYS,
    SILENT_KEYS,
    entries,
    find_text,
    other_file,
    recorded_config,
)

RUN_PREFIX = "run."  # entries about the run
ORIGIN = "origin"  # entry with the Origin of a backbone
MINDCV_SHORTCUT, SHORTCUT = ".down_sample.", ".down_sample_layer."
OPTIMIZER_PREFIX = "optimizer."  # optimizer state of each weight
EMA_PREFIX = "ema."  # moving averages of the weights
CHECKSUM_MARK, CHECKSUM_BYTES = b"crc_num", 17  # at the end of the file: mark and ten digits
REASON_LETTERS = 300  # of an error of MindSpore, which may continue with its call stack
# keys of a detector that training can change
FREE_IN_FINETUNING = ("classes", "resize", "centerness")


@dataclass(frozen=True)
class Origin:
    """How a backbone was trained."""

    padding: str  # see models.layers.conv
    image_mean: tuple[float, ...]  # RGB in 0..255
    image_std: tuple[float, ...]
    backbone: str  # name in VARIANTS
    source: str  # file that it was converted from

    def __str__(self) -> str:
        return f"{self.backbone}, {treatment(self.padding, self.image_mean, self.image_std)}"


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Weights, averaged where the run averages them, by name; InputError if unreadable."""
    arrays = {
        name: value.asnumpy()
        for name, value in load_entries(path).items()
        if isinstance(value, ms.Tensor) and not name.startswith((RUN_PREFIX, OPTIMIZER_PREFIX))
    }
    averages = {n[len(EMA_PREFIX) :]: a for n, a in arrays.items() if n.startswith(EMA_PREFIX)}
    return averages or arrays


def load_entries(path: str) -> dict:
    """Everything in a checkpoint by name; InputError if it cannot be read."""
    check_exists(path)
    logging.disable(logging.CRITICAL)  # MindSpore logs its own lines
    try:
        return ms.load_checkpoint(str(path), crc_check=has_checksum(Path(path)))
    except (ValueError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:REASON_LETTERS]
        raise InputError(
            f"{path}: not a MindSpore checkpoint, or a damaged one{other_file(path)}; "
            f"MindSpore says: {reason}"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def has_checksum(path: Path) -> bool:
    """Whether a checkpoint ends with a checksum."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - CHECKSUM_BYTES, 0))
        return file.read().startswith(CHECKSUM_MARK)


def run_config(path: str) -> dict:
    """The configuration of the checkpoint's run, or empty; InputError if there is no such file."""
    check_exists(path)
    return recorded_config(path)


def check_exists(path: str) -> None:
    """InputError if there is no such file."""
    if not os.path.isfile(path):
        raise InputError(no_file(path, ".ckpt"))


def saved_config(entries: Mapping[str, Any], path: str) -> dict:
    """The run's configuration among the entries of a checkpoint, with current key names."""
    return with_new_names(yaml.safe_load(entries.get(CONFIG, "{}")), path)


def check_run(
    path: str, saved: Mapping[str, Any], cfg: Config, *, finetuning: bool = False
) -> None:
    """InputError if a checkpoint, of the configuration `saved`, has another network than cfg's.

    A checkpoint without a configuration passes. Keys that an older version lacks have their
    defaults. In `finetuning`, the keys FREE_IN_FINETUNING may differ.
    """
    if not saved:
        return
    defaults = {**{name: key.default for name, key in load_keys().items()}, **USUAL}
    free = FREE_IN_FINETUNING if finetuning else ()
    keys = [key for key in (*NETWORK_KEYS, *SILENT_KEYS) if key not in free]
    if lines := differences({**defaults, **saved}, cfg, keys):
        advice = "omit these keys, or set them as it was trained"
        if finetuning:
            advice += "; --pretrained takes its backbone alone"
        title = f"{path}: was trained with other keys"
        raise InputError("\n  ".join([title, *lines, advice]))


def read_origin(path: str) -> dict[str, Any]:
    """The Origin of a checkpoint's backbone as keys of the configuration, as far as it is known.

    A detector has its run's configuration. mindcv's backbones, whose padding is "mixed", are
    recognised by names of weights. The weights are not read.
    """
    if saved := run_config(path):
        known = [key for key in (*OPEN, "backbone") if saved.get(key) not in (None, [], "auto")]
        return {key: saved[key] for key in known}
    try:
        with Path(path).open("rb") as file:
            names = [name for name, *_ in entries(file)]
            origin = find_text(file, ORIGIN)
    except (OSError, ValueError, IndexError, KeyError):
        names = []
    if not names:
        load_entries(path)  # which says what is wrong
        return {}
    if any(MINDCV_SHORTCUT in name for name in names):
        return {"padding": "mixed"}
    return json.loads(origin or "{}")


def write_backbone(path: Path, arrays: Mapping[str, np.ndarray], origin: Origin) -> None:
    """Writes a backbone's weights and Origin; RunError on failure."""
    write_entries(path, tensors(arrays), {ORIGIN: json.dumps(asdict(origin))})


def write_detector(path: Path, arrays: Mapping[str, np.ndarray], config: str) -> None:
    """Writes a detector's weights and its configuration as YAML; RunError on failure."""
    write_entries(path, tensors(arrays), {CONFIG: config})


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, ms.Tensor]:
    """The arrays as tensors."""
    return {name: ms.Tensor(array) for name, array in arrays.items()}


def write_entries(path: Path, weights: Mapping[str, ms.Tensor], about: dict[str, Any]) -> None:
    """Writes a checkpoint atomically, with the strings and numbers `about` it.

    Raises:
        RunError: writing failed; an earlier file at `path` is kept.
    """
    partial = path.with_name(f".{path.stem}.part.ckpt")  # MindSpore requires this suffix
    logging.disable(logging.CRITICAL)  # MindSpore logs its own lines
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = [{"name": name, "data": tensor} for name, tensor in weights.items()]
        ms.save_checkpoint(entries, str(partial), append_dict=about, crc_check=True)
        partial.chmod(FILE_MODE)
        flush_to_disk(partial)
        os.replace(partial, path)
        flush_to_disk(path.parent)
    except (OSError, RuntimeError) as error:
        for rest in (partial, partial.with_suffix(".tmp")):  # MindSpore's own temporary file
            rest.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        kept = f"; the previous one, {path}, is kept" if path.is_file() else ""
        raise RunError(f"{path}: the checkpoint cannot be written: {reason}{kept}") from error
    finally:
        logging.disable(logging.NOTSET)


def flush_to_disk(path: Path) -> None:
    """Flushes a file or a folder's entries to disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
