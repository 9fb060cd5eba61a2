"""MindSpore checkpoints: read, written in one piece, and what they tell beside the weights."""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import yaml

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.config.keys import with_new_names
from src.config.open_keys import FOREIGN_SUFFIXES, OPEN, treatment
from src.runtime.errors import InputError, RunError
from src.runtime.files import FILE_MODE

RUN_PREFIX = "run."  # entries of a checkpoint that tell of the run and are no weights
ORIGIN = "origin"  # the entry that tells what a backbone was trained with
MINDCV_SHORTCUT, SHORTCUT = ".down_sample.", ".down_sample_layer."
OPTIMIZER_PREFIX = "optimizer."  # what the optimizer remembers of each weight
EMA_PREFIX = "ema."  # moving averages of the weights
CHECKSUM_MARK, CHECKSUM_BYTES = b"crc_num", 17  # how MindSpore ends a file: mark and ten digits
# keys that change what the weights mean, but not their names and shapes
SILENT_KEYS = (
    "classes", "padding", "image_mean", "image_std", "anchors", "anchor_size", "scales_per_octave",
    "aspect_ratios", "ssd_min_scale", "ssd_max_scale", "ssd_aspect_ratios", "resize",
)  # fmt: skip
FREE_IN_FINETUNING = ("classes", "resize")  # of these, what a detector can learn anew


@dataclass(frozen=True)
class Origin:
    """What a backbone was trained with.

    padding: see models.layers.conv; image_mean, image_std: RGB in 0..255; backbone: a name in
    models.resnet.VARIANTS; source: the file that it was converted from.
    """

    padding: str
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    backbone: str
    source: str

    def __str__(self) -> str:
        return f"{self.backbone}, {treatment(self.padding, self.image_mean, self.image_std)}"


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Weights in a MindSpore checkpoint by name; InputError where it cannot be read.

    Of a run that averages its weights they are the averages.
    """
    arrays = {
        name: value.asnumpy()
        for name, value in load_entries(path).items()
        if isinstance(value, ms.Tensor) and not name.startswith((RUN_PREFIX, OPTIMIZER_PREFIX))
    }
    averages = {n[len(EMA_PREFIX) :]: a for n, a in arrays.items() if n.startswith(EMA_PREFIX)}
    return averages or arrays


def load_entries(path: str) -> dict:
    """Everything in a checkpoint by name; InputError where it cannot be read."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint file")
    logging.disable(logging.CRITICAL)  # MindSpore would add lines of its own to ours
    try:
        return ms.load_checkpoint(str(path), crc_check=has_checksum(Path(path)))
    except (ValueError, RuntimeError, TypeError) as error:
        hint = ""
        if str(path).endswith(FOREIGN_SUFFIXES):
            hint = "; python3 -m src.weights makes one of torchvision's and timm's files"
        raise InputError(f"{path}: not a MindSpore checkpoint, or a damaged one{hint}") from error
    finally:
        logging.disable(logging.NOTSET)


def has_checksum(path: Path) -> bool:
    """Whether a checkpoint ends with a checksum, which is written last."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - CHECKSUM_BYTES, 0))
        return file.read().startswith(CHECKSUM_MARK)


def run_config(path: str) -> dict:
    """The configuration of the checkpoint's run; empty where it has none."""
    return saved_config(load_entries(path), path)


def saved_config(entries: Mapping[str, Any], path: str) -> dict:
    """The run's configuration among the entries of a checkpoint, by the present names of keys."""
    return with_new_names(yaml.safe_load(entries.get(RUN_PREFIX + "config", "{}")), path)


def check_run(
    path: str, saved: Mapping[str, Any], cfg: Config, *, finetuning: bool = False
) -> None:
    """InputError where the checkpoint's run had another network than the config.

    Names and shapes of weights do not show SILENT_KEYS. A checkpoint without a configuration
    passes; in `finetuning` FREE_IN_FINETUNING may differ.

    Args:
        saved: `run_config` of the checkpoint.
    """
    differences = [
        f"{key}: {saved[key]} in the checkpoint, {as_lists(cfg[key])} in the config"
        for key in SILENT_KEYS
        if key in saved and saved[key] != as_lists(cfg[key])
        if not (finetuning and key in FREE_IN_FINETUNING)
    ]
    if differences:
        raise InputError(f"{path}: was trained with other keys\n  " + "\n  ".join(differences))


def read_origin(path: str) -> dict[str, Any]:
    """What a checkpoint tells of its backbone's Origin; empty where it tells nothing.

    A detector's tells what it was trained with. mindcv's tell by their names alone: there, only the
    pooling pads as TensorFlow does.
    """
    entries = load_entries(path)
    if RUN_PREFIX + "config" in entries:
        saved = saved_config(entries, path)
        known = [key for key in (*OPEN, "backbone") if saved.get(key) not in (None, [], "auto")]
        return {key: saved[key] for key in known}
    if any(MINDCV_SHORTCUT in name for name in entries):
        return {"padding": "mixed"}
    return json.loads(entries.get(ORIGIN, "{}"))


def write_backbone(path: Path, arrays: Mapping[str, np.ndarray], origin: Origin) -> None:
    """Writes a backbone's weights and what they were trained with; RunError where it cannot."""
    entries = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    write_entries(path, entries, {ORIGIN: json.dumps(asdict(origin))})


def write_entries(path: Path, entries: list[dict], about: dict[str, Any]) -> None:
    """Writes a checkpoint beside `path` and moves it there, so `path` is never half-written.

    Args:
        entries: "name" and "data" of each parameter.
        about: further strings and numbers by name.

    Raises:
        RunError: the disk is full, say; what was at `path` is still there.
    """
    beside = path.with_name(f".{path.stem}.part.ckpt")  # the suffix MindSpore insists on
    logging.disable(logging.CRITICAL)  # MindSpore would add lines of its own to ours
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ms.save_checkpoint(entries, str(beside), append_dict=about, crc_check=True)
        beside.chmod(FILE_MODE)
        flush_to_disk(beside)
        os.replace(beside, path)
        flush_to_disk(path.parent)
    except (OSError, RuntimeError) as error:
        for rest in (beside, beside.with_suffix(".tmp")):  # MindSpore's own first name for it
            rest.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        kept = f"; the one before, {path}, is kept" if path.is_file() else ""
        raise RunError(f"{path}: the checkpoint cannot be written: {reason}{kept}") from error
    finally:
        logging.disable(logging.NOTSET)


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of files, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def strip_prefix(
    arrays: Mapping[str, np.ndarray], names: Iterable[str], prefixes: Iterable[str]
) -> dict[str, np.ndarray]:
    """The arrays under the names they have without the prefix that makes most of `names` match."""

    def stripped(prefix: str) -> dict[str, np.ndarray]:
        return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}

    candidates = [stripped(prefix) for prefix in ("", *prefixes)]
    return max(candidates, key=lambda found: sum(name in found for name in names))
