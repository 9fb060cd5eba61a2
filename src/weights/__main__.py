"""Converts a torchvision or timm ResNet to a checkpoint for --pretrained.

    python3 -m src.weights resnet50-11ad3fa6.pth ckpt/resnet50_tv2.ckpt

Reads .pth, .pt, .bin and .safetensors files with a ResNet-18, 34, 50 or 101 under any prefix of
names, without PyTorch and without running pickled code. The checkpoint records padding and
normalisation of the weights, which training then uses too.
"""

import argparse
from pathlib import Path

from src.config.open_keys import FOREIGN_SUFFIXES, LEAST_STD, PADDINGS
from src.distributed.command import run_command
from src.runtime.errors import InputError


def main(argv=None) -> None:
    args = parse(argv)
    check(args)

    from src.weights.checkpoint_file import Origin, write_backbone
    from src.weights.convert import convert, read_foreign
    from src.weights.timm_config import pixels_of

    converted = convert(read_foreign(args.input), str(args.input), prefix=args.prefix)
    print(f"{args.input}: {converted.report()}")
    mean, std = args.image_mean, args.image_std
    if not (mean and std):
        usual_mean, usual_std = pixels_of(args.input, converted.variant)
        mean, std = mean or usual_mean, std or usual_std
    origin = Origin(args.padding, tuple(mean), tuple(std), converted.variant, args.input.name)
    write_backbone(args.output, converted.arrays, origin)
    print(f"wrote {args.output}: {origin}")
    print(f"to train with it: --pretrained={args.output} --backbone={converted.variant}")


def parse(argv) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m src.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, help="file of torchvision or timm")
    parser.add_argument("output", type=Path, help="checkpoint to write, .ckpt")
    parser.add_argument(
        "--padding", choices=PADDINGS, default="symmetric", help="default: symmetric, as in PyTorch"
    )
    parser.add_argument(
        "--prefix",
        metavar="student.",
        help="of the names in a file with several ResNets, such as a student and a teacher",
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
    return parser.parse_args(argv)


def check(args: argparse.Namespace) -> None:
    """InputError where the command line is invalid; before MindSpore is imported."""
    suffixes = ", ".join(FOREIGN_SUFFIXES)
    if args.input.suffix == ".ckpt":
        raise InputError(f"{args.input}: a MindSpore checkpoint needs no conversion")
    if args.input.suffix not in FOREIGN_SUFFIXES:
        raise InputError(f"{args.input}: expected a file that ends with {suffixes}")
    if not args.input.is_file():
        raise InputError(f"{args.input}: no such file")
    if args.output.suffix != ".ckpt":
        raise InputError(f"{args.output}: expected a name that ends with .ckpt")
    if args.image_std and not min(args.image_std) >= LEAST_STD:
        raise InputError(
            f"--image_std is {args.image_std}; expected at least {LEAST_STD}, for pixels in 0..255"
        )


if __name__ == "__main__":
    run_command(main)
