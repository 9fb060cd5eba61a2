"""What a small data set needs: settings of the recipe for few images, on two drawn sets.

    python benchmarks/small_data.py [--sets shapes tiles] [--settings flip ssd ...] [--seeds 3]

`shapes` is 100 images of the embedded data set; `tiles` is 141 aerial tiles of small objects at any
angle. Each setting is trained on each set by config/ssd_resnet50_fpn_small.yaml with a ResNet-18,
for about --updates updates, and evaluated once, on 200 other images. A run is a process of
train.py; rows are kept in --folder, so that an interrupted benchmark continues where it stopped.

Prints JSON lines: a row for each run, and a summary of each set and setting: mean, least and
greatest AP50 and AP over the seeds. Flags of train.py are passed on to every run.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import drawn_tiles
from benchmarks.common import REPOSITORY, configure, make_parser, parse, print_row
from benchmarks.ladder import positive, run_all
from benchmarks.ladder_rows import Rows
from src.data import synthetic

RECIPE = "--config_path=config/ssd_resnet50_fpn_small.yaml"
WARMUP_SHARE = 0.3  # of a run, as the recipe says
VAL_IMAGES = 200
SETS = {
    "shapes": (100, synthetic.write_dataset, synthetic.CLASSES),
    "tiles": (141, drawn_tiles.write_tiles, drawn_tiles.CLASSES),
}
ANY_SIDE_UP = {"vertical_flip_probability": 0.5, "rotate_probability": 0.75}
LITTLE = {"augmentation": "jitter", "jitter_scale": [0.8, 1.25]}
MOSAIC = {"mosaic_probability": 0.5}
# keys of each setting over the recipe's; without a mosaic unless it names one
SETTINGS = {
    name: {"mosaic_probability": 0.0, **keys}
    for name, keys in {
        "none": {"augmentation": "none"},
        "flip": {"augmentation": "flip"},
        "turns": {"augmentation": "flip", **ANY_SIDE_UP},
        "jitter_little": LITTLE,
        "jitter_little_turns": {**LITTLE, **ANY_SIDE_UP},
        "jitter_little_mosaic": {**LITTLE, **MOSAIC},
        "jitter": {"augmentation": "jitter", "jitter_scale": [0.5, 2.0]},
        "crops_little": {"augmentation": "ssd", "crop_scale": [0.7, 1.0]},
        "ssd": {"augmentation": "ssd"},
        "ssd_expand": {"augmentation": "ssd_expand"},
        "mosaic": {"augmentation": "flip", **MOSAIC},
    }.items()
}


def shared_flags(args: argparse.Namespace, name: str) -> list[str]:
    """Flags of train.py for all runs on a set; draws it if it is not there."""
    images, write, classes = SETS[name]
    root = args.folder.absolute() / name
    write(root, train=images, val=VAL_IMAGES)
    flags = [RECIPE, "--backbone=resnet18", f"--classes=[background, {', '.join(classes)}]"]
    flags += [f"--coco_root={root}", *args.flags]
    epochs = max(round(args.updates / (images // configure(flags).batch_size)), 1)
    only_last = [f"--{what}_interval={epochs}" for what in ("eval", "save")]
    return [
        *flags,
        *only_last,
        f"--epoch_size={epochs}",
        f"--warmup_epochs={round(WARMUP_SHARE * epochs, 3):g}",
    ]


def summary(rows: Sequence[dict]) -> dict:
    """Mean, least and greatest AP50 and AP of a setting's runs, and their CPU-seconds."""
    facts = {"seeds": len(rows)}
    for metric in ("AP50", "AP"):
        values = [row[metric] for row in rows]
        facts[metric] = round(statistics.mean(values), 4)
        facts[f"{metric}_range"] = [min(values), max(values)]
    facts["cpu_seconds"] = round(statistics.mean(row["cpu_seconds"] for row in rows))
    return facts


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--updates", type=positive, default=255)
    parser.add_argument("--jobs", type=positive, default=1, help="runs at a time")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "output" / "small_data")
    args = parse(parser, argv)
    rows = Rows(args.folder / "rows.jsonl")
    for name in args.sets:
        flags = shared_flags(args, name)
        facts = {"set": name, "updates": args.updates}
        runs = [
            ({**facts, "setting": setting, "seed": seed}, {**SETTINGS[setting], "seed": seed})
            for seed in range(1, args.seeds + 1)
            for setting in args.settings
        ]
        found = run_all(rows, runs, flags, jobs=args.jobs)
        for setting in args.settings:
            own = [row for row in found if row["setting"] == setting]
            print_row(f"small_data {name} {setting}", {**facts, **summary(own)})


if __name__ == "__main__":
    main()
