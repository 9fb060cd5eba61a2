"""Quantized exports: what they need, how they are calibrated, and whether their AP is kept."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.dataset import build_annotations
from src.data.signs.sign import NAMES
from src.prediction.recorded import naming_the_detector
from src.runtime.errors import InputError, NotFinite
from src.runtime.files import to_json
from src.runtime.signals import Interruption
from src.runtime.text import count

NONE, FP16, INT8 = "none", "fp16", "int8"  # values of `quantize`
ANY_FALL = 1.0  # of max_ap_fall, with which every file is kept
FEW_IMAGES = 50  # resamples of fewer say little
MEGA = 1e6
WAY_ON = "export without --quantize, or int8 with a larger --calibrate_on"

Check = Callable[[], None]  # called before each batch; may raise to stop
Convert = Callable[[Path], list[str]]  # replaces a file in its place; returns lines for the user


def build_conversion(cfg: Config, interruption: Interruption) -> Convert | None:
    """A function that quantizes an exported file as configured; None without quantization.

    InputError if the format cannot be quantized, or its images are missing.
    """
    if cfg.quantize == NONE:
        return None
    if cfg.file_format != "ONNX":
        raise InputError(
            f"quantize is {cfg.quantize}, which only ONNX files can be, but file_format is "
            f"{cfg.file_format}; give --file_format=ONNX, or leave --quantize out"
        )
    with naming_the_detector(cfg):
        judged = random_images(build_annotations(cfg, training=False), cfg.judge_on, cfg.seed)
        calibration = None
        if cfg.quantize == INT8:
            # whatever is suspicious about boxes, the images are good enough to calibrate on
            train = build_annotations(cfg.replace(accept=NAMES), training=True)
            calibration = random_images(train, cfg.calibrate_on, cfg.seed)
    return partial(
        convert, cfg=cfg, judged=judged, calibration=calibration, interruption=interruption
    )


def random_images(annotations: Annotations, most: int, seed: int) -> Annotations:
    """At most `most` images, drawn at random, in the order of the split."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(annotations))[:most]
    return annotations.take(np.sort(chosen))


def convert(
    file: Path,
    *,
    cfg: Config,
    judged: Annotations,
    calibration: Annotations | None,
    interruption: Interruption,
) -> list[str]:
    """Quantizes the exported file in its place, if AP is kept; returns lines for the user.

    Args:
        judged: the images on which AP is measured.
        calibration: images for int8; None for fp16.

    Raises:
        InputError: AP falls too much, or cannot be measured.
        Interrupted: by a signal.
    """
    import onnx

    from src.deploy.quantize import to_fp16, to_int8

    model, check = onnx.load(str(file)), interruption.check
    how = {"type": cfg.quantize}
    small = file.with_stem(cfg.quantize)
    interruption.deferred = True  # files of hundreds of megabytes are removed first
    try:
        if calibration is None:
            changed = to_fp16(model)
        else:
            changed = to_int8(model, calibration_batches(cfg, calibration, check))
            how |= {"calibration_images": len(calibration), "seed": cfg.seed}
        onnx.save(changed, str(small))
        kept, line = judge(cfg, file, small, judged, check)
        changed.metadata_props.add(key="quantized", value=to_json({**how, **kept}))
        onnx.save(changed, str(small))
        sizes = [path.stat().st_size / MEGA for path in (small, file)]
        check()
        os.replace(small, file)
    finally:
        small.unlink(missing_ok=True)
        interruption.deferred = False
    on = ""
    if calibration is not None:
        on = f", calibrated on {count(len(calibration), 'image')} of {calibration.source}"
    return [
        f"then quantized to {cfg.quantize}{on}: {sizes[0]:.1f} MB instead of {sizes[1]:.1f}",
        line,
    ]


def calibration_batches(
    cfg: Config, calibration: Annotations, check: Check
) -> Iterator[np.ndarray]:
    """The images as prediction prepares them, in batches (N,H,W,3) of the file.

    Unreadable ones are left out; InputError where all are.
    """
    from src.data.eval_loader import EvalSamples, eval_batches
    from src.deploy.exported import pad_batch
    from src.prediction.inference import find_short_side

    samples = EvalSamples(
        calibration,
        sizes=[cfg.image_size],
        keep_aspect=cfg.resize == "letterbox",
        short_side=find_short_side(cfg, None),
    )
    read, unread = 0, []
    for batch in eval_batches(samples, batch_size=cfg.export_batch or 1, workers=0):
        check()
        images = batch.images[0][batch.readable]
        unread += batch.unread
        read += len(images)
        if len(images):
            yield pad_batch(images, cfg.export_batch)
    if not read:
        raise InputError(f"{calibration.source}: no image to calibrate on: {unread[0][1]}")


def judge(
    cfg: Config, file: Path, small: Path, judged: Annotations, check: Check
) -> tuple[dict[str, float | int], str]:
    """Compares the AP of a file before and after quantization, on the same images.

    Returns the entries for the file's metadata, and a line for the user.

    Raises:
        InputError: AP falls by more than max_ap_fall, or cannot be measured.
    """
    from src.evaluation.coco_metric import evaluate, ground_truth
    from src.evaluation.resampling import match_classes, resampled_difference

    truth = ground_truth(judged, cfg.classes)
    rows = [detections(cfg, path, judged, check) for path in (file, small)]
    before, after = (evaluate(judged, cfg.classes, one).overall["AP"] for one in rows)
    on = f"on {count(len(judged), 'image')} of {judged.source}"
    found = {"AP": after, "AP_float32": before, "images": len(judged)}
    if not before > 0:  # nan without objects
        return found, without_ap(cfg, before, on)
    share = (before - after) / before
    if share > cfg.max_ap_fall:
        raise InputError(
            f"the {cfg.quantize} file has AP {after:.4f} where the float32 file has {before:.4f}, "
            f"{on}: {share:.1%} less, and max_ap_fall allows {cfg.max_ap_fall:.1%}. It was not "
            f"kept; {WAY_ON}, or accept it with a larger --max_ap_fall"
        )
    mine, other = (match_classes(judged, truth, one) for one in reversed(rows))
    sure = resampled_difference(mine, other, seed=cfg.seed)
    line = (
        f"AP {after:.4f} instead of {before:.4f} {on}; of {sure.resamples:,} resamples of these "
        f"95 % are between {sure.low:+.4f} and {sure.high:+.4f}"
    )
    is_sure = (sure.high - sure.low) / 2 <= cfg.max_ap_fall * before
    if len(judged) < FEW_IMAGES or not is_sure:
        line += (
            f"\n  too few images to tell a fall of {cfg.max_ap_fall:.1%} from chance; measure "
            "on more, see --judge_on and --val_split"
        )
    return found, line


def detections(cfg: Config, file: Path, judged: Annotations, check: Check) -> np.ndarray:
    """What the file detects on the CPU, as eval.py --model does: rows (R,7) as COCO's array.

    The usual ONNX Runtime has no other device, and calibrates there too.
    """
    from src.evaluation.detect import detect_with

    plain = {"protocol": "coco", "tta_flip": False, "tta_scales": [1.0], "device_target": "CPU"}
    found = detect_with(None, cfg.replace(model=str(file), **plain), judged, check=check)
    try:
        found.check()
    except NotFinite as error:
        raise NotFinite(f"the {cfg.quantize} file was not kept: {error}; {WAY_ON}") from None
    return found.rows


def without_ap(cfg: Config, before: float, on: str) -> str:
    """The line for a file that cannot be judged; InputError unless every fall is allowed."""
    why = "there is no object to find" if np.isnan(before) else f"the float32 file has AP {before}"
    if cfg.max_ap_fall < ANY_FALL:
        raise InputError(
            f"the {cfg.quantize} file cannot be judged, and was not kept: {why}, {on}. Train "
            f"further, lower score_threshold ({cfg.score_threshold:g}), give another --val_split "
            "or more --judge_on, or keep the file unjudged with --max_ap_fall=1"
        )
    return f"NOT JUDGED, as max_ap_fall is {cfg.max_ap_fall:g}: {why}, {on}"
