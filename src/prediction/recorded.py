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
UNLISTED = "not in classes"  # in errors of annotations with further classes
OF_THE_DATA = ("classes",)  # taken from the data unless they are given
# what fine-tuning does not take over
NEW_DATA = ("image_size", "canvas_step", "eval_batch_size", *OF_THE_DATA)
DETECTOR_KEYS = (*NETWORK_KEYS, *SILENT_KEYS, *USE_KEYS, *LEARNING_KEYS, "canvas_step")
PLACES = (  # of the data
    "coco_root", "train_json", "train_images", "val_json", "val_images", "voc_root", "yolo_root",
    "image_dir", "anno_path", "val_anno_path",
)  # fmt: skip
DATA_KEYS = (*PLACES, "dataset", "train_split", "val_split", "unlisted_classes", "accept")
# what a run evaluates instead of what these say
INSTEAD = {
    "val_share": ("dataset", "coco_root", "voc_root", "yolo_root", "val_json", "val_split",
                  "anno_path", "val_anno_path"),
    "val_json": ("coco_root", "val_split", "val_share"),
    "val_images": ("coco_root", "val_split", "val_share", "val_json"),
    "val_anno_path": ("val_share",),
    "train_json": ("coco_root", "train_split"),
}  # fmt: skip


def records_loss(path: str) -> bool:
    """Whether a checkpoint says by which loss it was trained; those of converted files do not."""
    return "class_loss" in recorded_config(path)


def detector_layer(path: str) -> Layer:
    """The keys of the detector in a checkpoint; none where it records none, or without a path."""
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
    """`detector_layer` and where the data are that the run in a checkpoint used.

    Other data that are `given` by recipe or flags come in place of those that the run used.
    """
    config = recorded_config(path) if path else {}
    keys = {name: config[name] for name in (*DATA_KEYS, "val_share") if name in config}
    for name, weaker in INSTEAD.items():
        if any(given.get(key) for key in weaker):
            keys.pop(name, None)
    return keys | detector_layer(path)[0], path


def device_keys(path: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The device of the run in a checkpoint, where this machine has one and none is `given`."""
    if not path or "device_target" in given:
        return {}
    target = str(recorded_config(path).get("device_target"))
    return {"device_target": target} if has_card(target) else {}


def export_layer(given: Mapping[str, Any]) -> Layer:
    """`evaluation_layer`, with the run's device where the file can be made on no other."""
    keys, path = evaluation_layer(str(given.get("checkpoint_path") or ""), given)
    return keys | (device_keys(path, given) if given.get("file_format") == "AIR" else {}), path


def device_line(cfg: Config, *, exporting: bool = False) -> str:
    """Which device is in use, if it or that of the checkpoint's run, if known, is a card; or ""."""
    recorded = recorded_config(cfg.checkpoint_path) if cfg.checkpoint_path else {}
    target = str(recorded.get("device_target", ""))
    if not target:
        return ""
    if cfg.device_target == target:
        return "" if target == "CPU" else f"on {target}, as the run of {cfg.checkpoint_path}"
    reason = f"; the run of {cfg.checkpoint_path} used {target}"
    if exporting:
        reason += ", and a file does not depend on it"
    elif not has_card(target) and target != "CPU":
        reason += ", which this machine does not have"
    return f"on {cfg.device_target}{reason}"


def evaluation_folder(path: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The output folder of an evaluation of RUN/ckpt/NAME.ckpt, RUN/eval/NAME, if none is `given`.

    A folder of its own, so that neither the run's files nor another checkpoint's are replaced.
    """
    checkpoint = Path(path)
    if "output_path" in given or checkpoint.parent.name != "ckpt" or not recorded_config(path):
        return {}
    return {"output_path": str(checkpoint.parent.parent / "eval" / checkpoint.stem)}


@contextmanager
def naming_the_run(cfg: Config) -> Iterator[None]:
    """Adds to an InputError of the block which paths are those of the checkpoint's run."""
    try:
        yield
    except InputError as error:
        config = recorded_config(cfg.checkpoint_path) if cfg.checkpoint_path else {}
        defaults = load_keys()
        own = [
            f"--{name}"
            for name in PLACES
            if cfg[name] == config.get(name) != defaults[name].default
            if cfg[name] in str(error) and not os.path.exists(cfg[name])
        ]
        if not own:
            raise
        raise InputError(
            f"{error}; {cfg.checkpoint_path} records it, for data elsewhere give {', '.join(own)}"
        ) from None


@contextmanager
def naming_the_classes(cfg: Config) -> Iterator[None]:
    """Adds to an InputError of the block on other classes whose the known ones are."""
    try:
        yield
    except InputError as error:
        if UNLISTED not in str(error):
            raise
        detector = cfg.model or cfg.checkpoint_path
        raise InputError(
            f"{error}\n  the classes are those of {detector}, or of --classes; "
            "--unlisted_classes=drop evaluates these alone"
        ) from None


def training_layer(given: Mapping[str, Any]) -> Layer:
    """`finetuning_layer` of what recipe and flags name, or of the run that is to be continued.

    The run's own checkpoint knows the same keys, its classes too, and the file that it started from
    may be gone.
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
    """The keys with which training starts from the detector in a checkpoint.

    All but the sizes of images and batches, and the classes, which are those of the new data. What
    training cannot do is replaced by what is nearest.
    """
    keys = {name: value for name, value in detector_layer(path)[0].items() if name not in NEW_DATA}
    if keys.get("resize") == "short_side":
        keys["resize"] = "letterbox"
    if keys.get("centerness"):
        keys["centerness"] = False
    return keys, path
