"""Keys that a checkpoint records, as a layer of the configuration; without MindSpore."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from src.config.configuration import Config, Layer
from src.config.keys import load_keys
from src.deploy.formats import USE_KEYS, check_detector, format_of, read_description
from src.runtime.cards import has_card
from src.runtime.errors import InputError
from src.weights.checkpoint_config import NETWORK_KEYS, SILENT_KEYS, recorded_config

# how a detector is trained: others may not fit its network
LEARNING_KEYS = (
    "assigner", "positive_iou", "atss_candidates", "class_loss", "focal_alpha", "focal_gamma",
    "quality_beta", "box_loss", "smooth_l1_beta", "box_weight", "distribution_weight",
)  # fmt: skip
OF_THE_DATA = ("classes",)  # taken from the data unless they are given
# keys that fine-tuning does not take over
NEW_DATA = ("image_size", "canvas_step", "eval_batch_size", *OF_THE_DATA)
DETECTOR_KEYS = (*NETWORK_KEYS, *SILENT_KEYS, *USE_KEYS, *LEARNING_KEYS, "canvas_step")
PLACES = (  # of the data
    "coco_root", "train_json", "train_images", "val_json", "val_images", "voc_root", "yolo_root",
    "image_dir", "anno_path", "val_anno_path",
)  # fmt: skip
DATA_KEYS = (*PLACES, "dataset", "train_split", "val_split", "unlisted_classes", "accept")
# keys of a run's data, each with the keys that replace it when given
INSTEAD = {
    "val_share": ("dataset", "coco_root", "voc_root", "yolo_root", "val_json", "val_split",
                  "anno_path", "val_anno_path"),
    "val_json": ("coco_root", "val_split", "val_share"),
    "val_images": ("coco_root", "val_split", "val_share", "val_json"),
    "val_anno_path": ("val_share",),
    "train_json": ("coco_root", "train_split"),
}  # fmt: skip


def detector_layer(path: str) -> Layer:
    """The detector's keys that a checkpoint records; none without a path."""
    config = recorded_config(path) if path else {}
    names = DETECTOR_KEYS
    if config.get("resize") == "short_side":
        # a converted file; a run records the batch size that suits its machine
        names = (*names, "eval_batch_size")
    return {name: config[name] for name in names if name in config}, path


def detector_config(path: str) -> dict:
    """The detector's keys in a checkpoint or exported file; InputError where it is neither."""
    check_detector(path)
    if format_of(path):
        return read_description(Path(path))
    keys, _ = detector_layer(path)
    return keys


def evaluation_layer(path: str, given: Mapping[str, Any] = MappingProxyType({})) -> Layer:
    """`detector_layer` and the data of the checkpoint's run.

    Data that are `given` by recipe or flags replace those of the run.
    """
    config = recorded_config(path) if path else {}
    keys = {name: config[name] for name in (*DATA_KEYS, "val_share") if name in config}
    for name, weaker in INSTEAD.items():
        if any(given.get(key) for key in weaker):
            keys.pop(name, None)
    return keys | detector_layer(path)[0], path


def device_keys(path: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The device of the checkpoint's run, if this machine has it and no other is `given`."""
    if not path or "device_target" in given:
        return {}
    target = str(recorded_config(path).get("device_target"))
    return {"device_target": target} if has_card(target) else {}


def export_layer(given: Mapping[str, Any]) -> Layer:
    """`evaluation_layer`, for AIR files with the run's device, since only Ascend can write them."""
    keys, path = evaluation_layer(str(given.get("checkpoint_path") or ""), given)
    return keys | (device_keys(path, given) if given.get("file_format") == "AIR" else {}), path


def device_line(cfg: Config) -> str:
    """The device in use and that of the checkpoint's run, if known and one is a card; else ""."""
    recorded = recorded_config(cfg.checkpoint_path) if cfg.checkpoint_path else {}
    target = str(recorded.get("device_target", ""))
    if not target or target == cfg.device_target == "CPU":
        return ""
    return f"on {cfg.device_target}; the run of {cfg.checkpoint_path} used {target}"


def evaluation_folder(path: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The output folder RUN/eval/NAME for a checkpoint RUN/ckpt/NAME.ckpt, if none is `given`.

    So neither the run's files nor another checkpoint's evaluation are replaced.
    """
    checkpoint = Path(path)
    if "output_path" in given or checkpoint.parent.name != "ckpt" or not recorded_config(path):
        return {}
    return {"output_path": str(checkpoint.parent.parent / "eval" / checkpoint.stem)}


@contextmanager
def naming_the_detector(cfg: Config) -> Iterator[None]:
    """Adds to an InputError about the data which paths or classes the detector's file records."""
    try:
        yield
    except InputError as error:
        detector, hint = cfg.model or cfg.checkpoint_path, ""
        if own := recorded_places(cfg, str(error)):
            hint = f"; {detector} records it, for data elsewhere give {', '.join(own)}"
        if "not in classes" in str(error):
            hint += (
                f"\n  the classes are those of {detector}, or of --classes; "
                "--unlisted_classes=drop evaluates these alone"
            )
        if not hint:
            raise
        raise InputError(f"{error}{hint}") from None


def recorded_places(cfg: Config, message: str) -> list[str]:
    """Flags of the paths in a message that the checkpoint records and that are not there."""
    recorded = recorded_config(cfg.checkpoint_path) if cfg.checkpoint_path else {}
    return [
        f"--{name}"
        for name in PLACES
        if cfg[name] == recorded.get(name) != load_keys()[name].default
        if cfg[name] in message and not os.path.exists(cfg[name])
    ]


def training_layer(given: Mapping[str, Any]) -> Layer:
    """`finetuning_layer` of `finetune`, or of the last checkpoint if the run is resumed.

    That records the same keys, and the classes; the file that the run started from may be gone.
    """
    source = str(given.get("finetune") or "")
    folder = given.get("output_path", load_keys()["output_path"].default)
    last = str(given.get("resume_from") or Path(str(folder)) / "ckpt" / "last.ckpt")
    if not (given.get("resume") and os.path.isfile(last)):
        return finetuning_layer(source)
    keys = finetuning_layer(last)[0] if source else {}
    recorded = recorded_config(last)
    return keys | {key: recorded[key] for key in OF_THE_DATA if key in recorded}, last


def finetuning_layer(path: str) -> Layer:
    """The detector's keys for training that starts from its checkpoint.

    Sizes of images and batches and the classes are left out: they depend on the new data. Settings
    that training lacks are replaced by the nearest ones.
    """
    keys = {name: value for name, value in detector_layer(path)[0].items() if name not in NEW_DATA}
    if keys.get("resize") == "short_side":
        keys["resize"] = "letterbox"
    if keys.get("centerness"):
        keys["centerness"] = False
    return keys, path
