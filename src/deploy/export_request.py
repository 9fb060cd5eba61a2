"""Checks of the keys for export, before MindSpore is imported."""

import re
from pathlib import Path

import numpy as np

from src.config.configuration import Config
from src.data.dataset import build_annotations
from src.data.files.file_kinds import IMAGE, is_hidden, kind_of
from src.data.images import read_image
from src.data.short_side import build_short_side
from src.data.signs.sign import NAMES
from src.data.transforms import fit_image
from src.deploy.formats import SUFFIXES, format_of
from src.runtime.errors import InputError
from src.runtime.files import check_file, make_output_folder

NAME_OF_MINDSPORE = r"[0-9a-zA-Z@_\-.:/]+"  # of exported files, with their folders
OTHER_SUFFIXES = (  # whose formats export.py does not write
    ".bin", ".ckpt", ".engine", ".h5", ".keras", ".mlmodel", ".mlpackage", ".ms", ".om", ".pb",
    ".plan", ".pt", ".pth", ".safetensors", ".tflite", ".torchscript", ".trt", ".xml",
)  # fmt: skip
MAX_COMPARED_IMAGES = 4  # read from the split or folder
MAX_DISTINCT_ROWS = 8  # different images in a batch; each costs a forward pass


def with_format(cfg: Config) -> Config:
    """The configuration, where the format is "auto" with that of file_name's suffix or MINDIR.

    InputError for a suffix of another program's format.
    """
    suffix = Path(cfg.file_name).suffix
    if suffix.lower() in (*OTHER_SUFFIXES, *SUFFIXES.values()) and suffix not in SUFFIXES.values():
        raise InputError(
            f"--file_name is {cfg.file_name}; export.py writes {', '.join(SUFFIXES.values())}, and "
            "docs/deployment.md says what other programs make of .onnx"
        )
    if cfg.file_format != "auto":
        return cfg
    return cfg.replace(file_format=format_of(cfg.file_name) or "MINDIR")


def target_path(cfg: Config) -> Path:
    """Path of the file, with its suffix; creates its folder. InputError for impossible keys."""
    if cfg.file_format == "AIR" and cfg.device_target != "Ascend":
        raise InputError(
            "file_format is AIR, which MindSpore writes only on an Ascend card, but device_target "
            f"is {cfg.device_target}; export MINDIR or ONNX"
        )
    if cfg.winograd and (cfg.file_format != "ONNX" or cfg.quantize != "none"):
        found, advice = f"to be quantized, {cfg.quantize}", "leave --quantize out"
        if cfg.file_format != "ONNX":
            found, advice = cfg.file_format, "give --file_format=ONNX"
        raise InputError(
            f"winograd is {cfg.winograd:g}, which is for ONNX files of float32, but the file is "
            f"{found}; {advice}, or --winograd=0, whatever a recipe says"
        )
    if format_of(cfg.checkpoint_path):
        raise InputError(f"{cfg.checkpoint_path}: is an exported file; expected a checkpoint")
    if cfg.nms and cfg.suppression != "hard":
        raise InputError(
            f"suppression is {cfg.suppression}, which exported files cannot do; export with "
            "--suppression=hard, or with --nms=False for suppression outside the file"
        )
    path = Path(cfg.file_name)
    if not path.name or path.is_dir():
        found = f"{cfg.file_name!r}, a folder" if path.is_dir() else repr(cfg.file_name)
        raise InputError(f"--file_name is {found}; expected the path of a file")
    suffix = SUFFIXES[cfg.file_format]
    if format_of(str(path)) not in ("", cfg.file_format):
        raise InputError(
            f"--file_name is {cfg.file_name}, but --file_format is {cfg.file_format}, whose suffix "
            f"is {suffix}; leave --file_format out, or give {format_of(str(path))}"
        )
    if path.suffix != suffix:
        path = path.with_name(path.name + suffix)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; set --file_name to another name")
    # of a MINDIR file it checks the whole path when it reads it
    checked = path if cfg.file_format == "ONNX" else path.absolute()
    if not re.fullmatch(NAME_OF_MINDSPORE, str(checked)):
        raise InputError(
            f"{checked}: MindSpore exports only to paths of the letters a to z, digits and @ _ - . "
            ": /; choose such a --file_name, of ONNX files a relative one will do"
        )
    make_output_folder(str(path.parent), "file_name")
    return path


def one_canvas(height: int, width: int) -> str:
    """What a file of one canvas means for images of the other orientation."""
    fits, shrunk = ("landscapes", "portraits") if height < width else ("portraits", "landscapes")
    return (
        f"one canvas, for {fits}: {shrunk} are shrunk until they fit, and detected otherwise than "
        f"by the checkpoint; for these export another file with --image_size='[{width},{height}]'"
    )


def comparison_images(cfg: Config) -> np.ndarray:
    """The images (n,H,W,3) uint8 that the exported file is compared on.

    At least two and, up to MAX_DISTINCT_ROWS, as many as its batch, so that swapped rows show.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    short_side, keep_aspect = build_short_side(cfg), cfg.resize == "letterbox"
    images = []
    for path in image_paths(cfg)[:MAX_COMPARED_IMAGES]:
        image = read_image(path)
        if short_side is not None:
            images.append(short_side.fit(image, cfg.image_size)[0])
        else:
            images.append(fit_image(image, cfg.image_size, keep_aspect=keep_aspect)[0])
    count = max(len(images), min(max(cfg.export_batch, 2), MAX_DISTINCT_ROWS))
    return np.stack([shifted(images[i % len(images)], i // len(images)) for i in range(count)])


def shifted(image: np.ndarray, times: int) -> np.ndarray:
    """The image shifted by `times` steps; mirrored too where that is odd."""
    moved = np.roll(image, times * image.shape[1] // (MAX_DISTINCT_ROWS + 1), axis=1)
    return moved[:, ::-1] if times % 2 else moved


def image_paths(cfg: Config) -> list[Path]:
    """Images of `export_image`, or else of the evaluation split."""
    given = Path(cfg.export_image)
    if cfg.export_image and given.is_dir():
        return images_in(given)
    if cfg.export_image:
        check_file(cfg, "export_image")
        return [given]
    try:
        # whatever is suspicious about boxes, the images are good enough to compare on
        split = build_annotations(cfg.replace(accept=NAMES), training=False)
    except InputError as error:
        raise InputError(
            f"{error}; or name images to compare the file on with --export_image"
        ) from None
    return [split[index].path for index in range(min(len(split), MAX_COMPARED_IMAGES))]


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, by their content; InputError where there is none."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not is_hidden(path.name))
    found = [path for path in files if kind_of(path).what == IMAGE]
    if not found:
        raise InputError(f"{folder}: no image in this folder; check --export_image")
    return found
