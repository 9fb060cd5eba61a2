"""Turns a torchvision or timm ResNet into a checkpoint that --pretrained takes.

    python3 -m src.weights resnet50-11ad3fa6.pth ckpt/resnet50_tv2.ckpt

Reads .pth, .pt and .safetensors of a ResNet-18, 34, 50 or 101, without PyTorch and without running
what is pickled in them. The checkpoint records what the weights were trained with, and training
with it pads and normalises in the same way.
"""

import argparse
from pathlib import Path

from src.command import run_command
from src.errors import InputError


def main(argv=None) -> None:
    from dataclasses import replace

    from src.models.origin import PADDINGS
    from src.weights.checkpoint import write_backbone
    from src.weights.convert import convert, origin_of, read_foreign

    parser = argparse.ArgumentParser(
        prog="python3 -m src.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, help="file of torchvision or timm")
    parser.add_argument("output", type=Path, help="checkpoint to write, .ckpt")
    parser.add_argument("--padding", choices=PADDINGS, help="default: symmetric, as in PyTorch")
    for what in ("mean", "std"):
        parser.add_argument(
            f"--image_{what}",
            type=float,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"{what} of the pixels it was trained with, in 0..255; default: that of the "
            "config.json beside the file, as timm has it, else ImageNet's",
        )
    args = parser.parse_args(argv)
    if args.output.suffix != ".ckpt":
        raise InputError(f"{args.output}: expected a name that ends with .ckpt")
    if args.image_std and min(args.image_std) <= 0:
        raise InputError(f"--image_std is {args.image_std}; expected numbers above 0")
    converted = convert(read_foreign(args.input), str(args.input))
    print(f"{args.input}: {converted.report()}")
    origin = origin_of(args.input, converted.variant)
    given = {key: getattr(args, key) for key in ("padding", "image_mean", "image_std")}
    origin = replace(origin, **{key: value for key, value in given.items() if value})
    write_backbone(args.output, converted.arrays, origin)
    print(f"wrote {args.output}: {origin}")
    print(f"to train with it: --pretrained={args.output} --backbone={converted.variant}")


if __name__ == "__main__":
    run_command(main)
