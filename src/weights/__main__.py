"""Converts a file of torchvision, mmdetection or timm to a checkpoint.

    python3 -m src.weights resnet50-11ad3fa6.pth ckpt/resnet50_v2.ckpt
    python3 -m src.weights retinanet_resnet50_fpn_v2_coco-5905b1c5.pth ckpt/retinanet_v2.ckpt

Reads .pth, .pt, .bin and .safetensors files under any prefix of names, without PyTorch and without
running pickled code. A ResNet-18, 34, 50 or 101 becomes a backbone for --pretrained, which records
padding and normalisation. torchvision's RetinaNet and mmdetection's RetinaNet, ATSS and GFL become
detectors for --checkpoint_path and --finetune, which record their whole configuration.
"""

import argparse
import shlex
from pathlib import Path

from src.config.open_keys import FOREIGN_SUFFIXES, LEAST_STD, PADDINGS
from src.distributed.command import run_command
from src.runtime.errors import InputError
from src.runtime.near_path import no_file

BACKBONE_FLAGS, DETECTOR_FLAGS = ("padding",), ("classes", "norm_epsilon")
DRY_RUN = "--dry_run"
REPLACED = "; the earlier file of this name is replaced"
NOT_WRITTEN = f"nothing was written; ckpt/NAME.ckpt instead of {DRY_RUN} converts it"


def main(argv=None) -> None:
    args = parse(argv)
    check(args)

    from src.weights.convert import read_foreign
    from src.weights.detector_keys import ClassNames
    from src.weights.detectors import find_detector

    (arrays, notes), found = read_foreign(args.input), None
    if not args.backbone:
        classes = ClassNames(args.classes or (), notes.classes)
        found = find_detector(arrays, str(args.input), prefix=args.prefix, classes=classes)
    if found and notes.is_caffe(args.input):
        refuse_caffe(args.input, notes.style)
    what, flags = ("a detector", BACKBONE_FLAGS) if found else ("a backbone", DETECTOR_FLAGS)
    for flag in flags:
        if getattr(args, flag) is not None:
            raise InputError(f"{args.input}: holds {what}, for which there is no --{flag}")
    if found:
        convert_detector(args, arrays, found)
    else:
        convert_backbone(args, arrays)


def refuse_caffe(path: Path, style: str) -> None:
    """InputError for a caffe variant, recognised by its `style` or, without one, by its name."""
    why = "its configuration has style 'caffe'" if style else "'caffe' is in its name"
    way = "" if style else ", or rename the file if it is not one of these"
    raise InputError(
        f"{path}: {why}: mmdetection's caffe models have other strides and pixels than this "
        f"network, with the same tensors; use the file of the same model that is not caffe's{way}"
    )


def convert_detector(args: argparse.Namespace, arrays, found) -> None:
    """Converts a detector, and prints what it is."""
    from src.weights.checkpoint_file import write_detector
    from src.weights.detector_keys import describe_use
    from src.weights.detectors import converted, is_frozen

    epsilon, frozen = args.norm_epsilon, is_frozen(arrays, found)
    if epsilon is not None and not frozen:
        raise InputError(
            f"{args.input}: --norm_epsilon is for frozen batch norms, which of all detectors only "
            "the first version of torchvision's RetinaNet has, without counts of batches; leave it "
            "out: the norms of this file have the usual 1e-5"
        )
    print(f"{args.input}: {found.report()}\n{describe_use(found.config)}")
    if frozen and epsilon is None:
        epsilon = 0.0
        print(
            "  norms: frozen, taken to have an epsilon of 0 as in torchvision's COCO file; for a "
            "model that was not started from that: --norm_epsilon=1e-5"
        )
    weights = converted(found, str(args.input), frozen_epsilon=epsilon)
    cfg = found.config
    for key in ("image_mean", "image_std"):
        if getattr(args, key):
            cfg = cfg.replace(**{key: getattr(args, key)})
    if args.dry_run:
        print(NOT_WRITTEN)
        return
    existed = args.output.is_file()
    write_detector(args.output, weights, cfg.to_yaml())
    print(f"wrote {args.output}, with its configuration{REPLACED * existed}")
    flag = shlex.quote(f"--checkpoint_path={args.output}")
    print(f"to use it: python3 predict.py {flag} --input=photo.jpg")


def convert_backbone(args: argparse.Namespace, arrays) -> None:
    """Converts a backbone, and prints what it is."""
    from src.weights.checkpoint_file import Origin, write_backbone
    from src.weights.convert import convert
    from src.weights.timm_config import pixels_of

    converted = convert(arrays, str(args.input), prefix=args.prefix)
    print(f"{args.input}: {converted.report()}")
    mean, std = args.image_mean, args.image_std
    if not (mean and std):
        usual_mean, usual_std = pixels_of(args.input, converted.variant)
        mean, std = mean or usual_mean, std or usual_std
    padding = args.padding or "symmetric"
    origin = Origin(padding, tuple(mean), tuple(std), converted.variant, args.input.name)
    if args.dry_run:
        print(f"  {origin}")
        print(NOT_WRITTEN)
        return
    existed = args.output.is_file()
    write_backbone(args.output, converted.arrays, origin)
    print(f"wrote {args.output}: {origin}{REPLACED * existed}")
    flag = shlex.quote(f"--pretrained={args.output}")
    print(f"to train with it: {flag} --backbone={converted.variant}")


def parse(argv) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m src.weights",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, help="file of torchvision, mmdetection or timm")
    parser.add_argument("output", type=Path, nargs="?", help="checkpoint to write, .ckpt")
    parser.add_argument(DRY_RUN, action="store_true", help="say what it is, write nothing")
    parser.add_argument(
        "--prefix",
        metavar="student.",
        help="of the names in a file with several networks, such as a student and a teacher",
    )
    parser.add_argument("--backbone", action="store_true", help="of a detector, its ResNet alone")
    parser.add_argument(
        "--padding", choices=PADDINGS, help="of a backbone; default: symmetric, as in PyTorch"
    )
    parser.add_argument(
        "--classes",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="a,b,c",
        help="names of a detector's classes, without background; default: those in the file, else "
        "COCO's, if it has 80, else class_1 and so on",
    )
    parser.add_argument(
        "--norm_epsilon",
        type=float,
        help="of the frozen batch norms of torchvision's first version; default: 0",
    )
    for what in ("mean", "std"):
        parser.add_argument(
            f"--image_{what}",
            type=float,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"{what} of pixels in training, in 0..255; default: from timm's config.json in "
            "its folder, else ImageNet's",
        )
    return parser.parse_intermixed_args(argv)  # with flags between the two files


def check(args: argparse.Namespace) -> None:
    """InputError if the command line is invalid; called before MindSpore is imported."""
    suffixes = ", ".join(FOREIGN_SUFFIXES)
    if args.input.suffix == ".ckpt":
        raise InputError(f"{args.input}: a MindSpore checkpoint needs no conversion")
    if args.input.suffix not in FOREIGN_SUFFIXES:
        raise InputError(f"{args.input}: expected a file that ends with {suffixes}")
    if not args.input.is_file():
        raise InputError(no_file(args.input))
    if not args.dry_run and args.output is None:
        raise InputError("give the checkpoint to write, ckpt/NAME.ckpt, or --dry_run")
    if not args.dry_run and args.output.suffix != ".ckpt":
        raise InputError(f"{args.output}: expected a name that ends with .ckpt")
    if args.image_std and not min(args.image_std) >= LEAST_STD:
        raise InputError(
            f"--image_std is {args.image_std}; expected at least {LEAST_STD}, for pixels in 0..255"
        )
    if args.classes and not all(args.classes):
        raise InputError(f"--classes is {','.join(args.classes)!r}; expected names: --classes=a,b")
    if args.classes and "background" in args.classes:
        raise InputError("--classes names the background, which is none of them; leave it out")
    if args.norm_epsilon is not None and not 0 <= args.norm_epsilon <= 1:
        raise InputError(f"--norm_epsilon is {args.norm_epsilon}; expected 0 to 1")


if __name__ == "__main__":
    run_command(main)
