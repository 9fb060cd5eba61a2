"""What tiles are worth for small objects in large images, on a drawn set, and what they cost.

    python benchmarks/tiles.py [--settings whole tiles_320 ...] [--seeds 2] [--images 20]

A ResNet-18 is trained by the demo's recipe on 1,080 drawn images of 160 px, with objects of 12 to
120 px, and evaluated on drawn images of 1280 px with 30 to 60 objects of 12 to 40 px and 1 to 3 of
200 to 480 px. A setting is a size of the input and of the tiles. Checkpoints, data and rows are
kept in --folder, so that an interrupted benchmark continues where it stopped.

Prints JSON lines: for each setting the AP of each seed and their mean, all and by object size, and
CPU-seconds an image, which compilation is no part of, also over those of the setting `whole`.
Flags of train.py are passed on to training and evaluation.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import REPOSITORY, make_parser, measure, parse, print_row
from benchmarks.drawn_large import CLASSES, LARGE_SIDE, TRAINING_SIDE, write_images
from benchmarks.ladder import as_flags, positive
from benchmarks.ladder_rows import Rows

RECIPE = "--config_path=config/ssd_resnet50_fpn_demo.yaml"
TRAIN_IMAGES = 1080
BATCH_PIXELS = 8 * 320**2  # of the network's input, which take memory
METRICS = ("AP", "AP50", "AP_small", "AP_medium", "AP_large", "AR100")
# side of the input, and keys of the tiles
SETTINGS = {
    "whole": (320, {}),
    "tiles_320": (320, {"tiles": 320}),
    "tiles_320_no_overlap": (320, {"tiles": 320, "tile_overlap": 0.0}),
    "tiles_640": (320, {"tiles": 640}),
    "tiles_160": (320, {"tiles": 160}),
    "whole_640": (640, {}),
    "whole_1280": (1280, {}),
}


def train(args: argparse.Namespace, seed: int) -> Path:
    """The checkpoint of a seed; trains it if it is not there."""
    run = args.folder.absolute() / f"seed{seed}"
    path = run / "ckpt" / "last.ckpt"
    if not (run / "done").exists():
        keys = {"coco_root": data_folder(args), "output_path": run, "seed": seed}
        keys |= {"backbone": "resnet18", "image_size": TRAINING_SIDE, "classes": list(CLASSES)}
        keys |= {"eval_interval": 0, "resume": True}
        command = [sys.executable, "train.py", RECIPE, *as_flags(keys), *args.flags]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=sys.stderr)
        (run / "done").touch()
    return path


def data_folder(args: argparse.Namespace) -> Path:
    """Of the drawn images."""
    return args.folder.absolute() / f"data_{args.train_images}_{args.images}_{args.side}"


def evaluate(args: argparse.Namespace, path: Path, names: Sequence[str]) -> dict[str, dict]:
    """`time_setting` of a checkpoint, by setting."""
    from src.config.command_line import parse_args
    from src.evaluation.run import recorded_layer
    from src.prediction.network_model import load_network
    from src.runtime.device import set_up_device

    rows, network, found = Rows(args.folder / "rows.jsonl"), None, {}
    for name in names:
        side, tiles = SETTINGS[name]
        keys = {"checkpoint_path": path, "image_size": side, "coco_root": data_folder(args)}
        keys |= {"eval_batch_size": BATCH_PIXELS // side**2 or 1, "num_workers": 0, **tiles}
        keys["eval_loss"] = False
        flags = [*as_flags(keys), *args.flags]
        if not (row := rows.find(flags)):
            cfg = parse_args("", flags, beneath=recorded_layer)
            set_up_device("CPU")
            network = network or load_network(cfg)
            row = rows.add({**time_setting(network, cfg), "flags": flags})
        found[name] = {key: value for key, value in row.items() if key != "flags"}
        print_row(f"tiles {name} {path.parts[-3]}", found[name])
    return found


def time_setting(network, cfg) -> dict[str, float]:
    """METRICS and CPU-seconds an image of an evaluation."""
    from src.data.dataset import build_annotations
    from src.evaluation.coco_metric import evaluate as measured
    from src.evaluation.detect import detect_with

    annotations, rows = build_annotations(cfg, training=False), []
    detect_with(network, cfg, annotations.take([0]))  # compiles
    _, cpu = measure(lambda: rows.append(detect_with(network, cfg, annotations).rows))
    overall = measured(annotations, cfg.classes, rows[0]).overall
    facts = {metric: round(overall[metric], 4) for metric in METRICS}
    return {**facts, "cpu_seconds": round(cpu / len(annotations), 3)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=positive, default=2)
    parser.add_argument("--images", type=positive, default=20, help="drawn for evaluation")
    parser.add_argument("--side", type=positive, default=LARGE_SIDE, help="of these, in pixels")
    parser.add_argument("--train_images", type=positive, default=TRAIN_IMAGES)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "output" / "tiles")
    args = parse(parser, argv)
    write_images(data_folder(args), train=args.train_images, val=args.images, side=args.side)
    paths = [train(args, seed) for seed in range(1, args.seeds + 1)]
    seeds = [evaluate(args, path, args.settings) for path in paths]
    for name in args.settings:
        own = [found[name] for found in seeds]
        row = {"seeds": len(own), **{key: mean(own, key) for key in own[0]}}
        if "whole" in args.settings:
            whole = statistics.mean(found["whole"]["cpu_seconds"] for found in seeds)
            row["times_whole"] = round(row["cpu_seconds"] / whole, 2)
        print_row(f"tiles {name}", row)


def mean(rows: Sequence[dict], key: str) -> float:
    """Of a value of the rows."""
    return round(statistics.mean(row[key] for row in rows), 4)


if __name__ == "__main__":
    main()
