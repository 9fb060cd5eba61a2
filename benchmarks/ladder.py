"""What each part of a recipe is worth: rungs of a ladder, trained on the embedded data.

    python benchmarks/ladder.py [--rungs base giou ...] [--seeds 3] [--updates 540]
    python benchmarks/ladder.py --rows overfit

Each rung adds a part to the rung before it, over the demo's recipe with a ResNet-18. A run is a
process of train.py, with as many updates for every rung; the AP at its end and its CPU-seconds are
recorded, compilation included. Each rung's learning rate is the best of the same --lr by the first
seed's AP; the order of runs is shuffled for each seed. Rows are kept in --folder, so that an
interrupted ladder continues where it stopped.

The rule: a part pays if the differences of AP to the rung before, seed by seed, all have one sign
and their mean is above two standard errors. With fewer than two seeds nothing is decided.

`--rows overfit` trains each pair of assigner and losses on 16 images and evaluates it on the same
ones; an AP50 of 0.9 or more shows that the pair learns.

Prints JSON lines: the rule, a row for each run, and a summary of each rung, also drawn in
ladder.png. Flags of train.py are passed on to every run, beneath those of its rung.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import REPOSITORY, configure, make_parser, parse, print_row
from benchmarks.ladder_rows import Rows, best_rates, draw, read_evaluation, summaries
from src.config.configuration import read_recipe
from src.data.synthetic import write_dataset
from src.runtime.errors import InputError

RECIPE = "--config_path=config/ssd_resnet50_fpn_demo.yaml"
# scores of a short run stay low, so all count; the optimizer is stated, so that the ladder stays
# when the demo's recipe changes
SHARED = [
    "--backbone=resnet18", "--score_threshold=0.001", "--compile_cache=False", "--clip_norm=10",
    "--adam_beta2=0.95",
]  # fmt: skip
RULE = (
    "A part pays if the paired differences of AP to the rung before all have one sign and their "
    "mean is above two standard errors."
)
WARMUP_SHARE = 0.1  # of all updates
GIOU = {"box_loss": "giou", "box_weight": 2.0}
SQUARE = {"anchor_size": 4.0, "scales_per_octave": 1, "aspect_ratios": [1.0]}
DISTRIBUTION = {"box_coding": "distribution"}
# stated for the same reason
BASE = {
    "assigner": "max_iou",
    "class_loss": "focal",
    "box_loss": "smooth_l1",
    "box_weight": 1.0,
    "box_coding": "delta",
    "anchor_size": 2.0,
    "scales_per_octave": 2,
    "aspect_ratios": [1.0, 2.0, 0.5],
    "level_scale": False,
    "head_norm": "batch",
}
# what each rung adds to the one before it
PARTS = {
    "base": BASE,
    "giou": GIOU,
    "atss": {"assigner": "atss"},
    "quality": {"class_loss": "quality"},
    "one_anchor": SQUARE,
    "distribution": DISTRIBUTION,
    "level_scale": {"level_scale": True},
    "group_norm": {"head_norm": "group"},
}
LOSSES = {
    "focal smooth_l1": {},
    "focal l1": {"box_loss": "l1"},
    "quality giou": {"class_loss": "quality", **GIOU},
    "varifocal ciou": {"class_loss": "varifocal", "box_loss": "ciou", "box_weight": 2.0},
    "quality giou distribution": {"class_loss": "quality", **GIOU, **DISTRIBUTION},
}
PAIRS = {
    f"{assigner} {losses}": {**BASE, "assigner": assigner, **keys}
    for assigner in ("max_iou", "atss")
    for losses, keys in LOSSES.items()
    if (assigner, keys.get("box_coding")) != ("max_iou", "distribution")  # which is refused
}
OVERFITTED = 0.9  # AP50 on the training images


def keys_of_rung(name: str) -> dict:
    """The keys of the parts up to this one."""
    keys = {}
    for part, added in PARTS.items():
        keys |= added
        if part == name:
            break
    return keys


def train(flags: Sequence[str]) -> dict:
    """AP, AP50, AP75 and CPU-seconds of a run of train.py; RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        command = [sys.executable, "train.py", *flags, f"--output_path={output}"]
        log = Path(folder) / "log.txt"
        with (
            log.open("w") as text,
            subprocess.Popen(command, cwd=REPOSITORY, stdout=text, stderr=text) as process,
        ):
            started = time.perf_counter()
            _, status, usage = os.wait4(process.pid, 0)  # its workers' time with its own
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
        return {
            **read_evaluation(output / "metrics.jsonl"),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "seconds": round(time.perf_counter() - started, 1),
        }


def stated_recipe() -> list[str]:
    """The recipe's keys as flags, which tell its rows from those of an earlier version of it."""
    recipe = read_recipe(RECIPE.partition("=")[2])
    del recipe["output_path"]
    return as_flags(recipe)


def shared_flags(
    args: argparse.Namespace,
    *,
    images: int,
    updates: int,
    extra: Sequence[str] = (),
    warmup_share: float = WARMUP_SHARE,
) -> list[str]:
    """Flags of train.py for all runs of so many updates; draws the data set if it is not there.

    InputError where the updates are no whole epochs, in which the schedule would not end.

    Args:
        extra: beneath those of the command line.
        warmup_share: of the updates.
    """
    flags = [RECIPE, *stated_recipe(), *SHARED, *extra, *args.flags]
    batch = configure([*flags, *as_flags(BASE)]).batch_size  # a rung's keys come over the flags
    if images < batch or updates % (images // batch):
        raise InputError(f"{updates} updates of {batch} are no whole epochs of {images} images")
    epochs = updates // (images // batch)
    data = args.folder.absolute() / f"data_{images}_{args.val_images}"
    write_dataset(data, train=images, val=args.val_images)
    only_last = [f"--{what}_interval={epochs}" for what in ("eval", "save")]
    warmup = f"--warmup_epochs={warmup_share * epochs:g}"
    return [*flags, f"--coco_root={data}", f"--epoch_size={epochs}", *only_last, warmup]


def run(rows: Rows, facts: dict, flags: Sequence[str]) -> dict:
    """The row of a run: `facts` with what it gave, from the file if it is there."""
    row = rows.find(flags) or rows.add({**facts, **train(flags), "flags": flags})
    shown = {key: value for key, value in row.items() if key != "flags"}
    print_row(" ".join(map(str, ("run", *facts.values()))), shown)
    return row


def run_all(
    rows: Rows, runs: Sequence[tuple[dict, dict]], flags: Sequence[str], *, jobs: int
) -> list[dict]:
    """Rows of runs, `jobs` of them at a time; of each the facts and the keys over `flags`.

    When one fails, those that have started end first, and no other starts.
    """
    with ThreadPoolExecutor(jobs) as pool:
        rows_of = [pool.submit(run, rows, facts, [*flags, *as_flags(k)]) for facts, k in runs]
        try:
            return [future.result() for future in rows_of]
        finally:
            pool.shutdown(cancel_futures=True)


def runs_of(seed: int, rates: dict[str, Sequence[float]]) -> list[tuple[dict, dict]]:
    """The seed's runs in a shuffled order, each rung with its rates: facts and keys of each."""
    runs = [
        ({"rung": rung, "seed": seed, "lr": rate}, {**keys_of_rung(rung), "lr": rate, "seed": seed})
        for rung, own in rates.items()
        for rate in own
    ]
    random.Random(seed).shuffle(runs)
    return runs


def climb(
    rows: Rows,
    flags: list[str],
    rungs: Sequence[str],
    *,
    seeds: int,
    rates: Sequence[float],
    jobs: int,
) -> list[dict]:
    """Rows of all rungs: the first seed with every rate, the others with each rung's best one."""
    first = run_all(rows, runs_of(1, dict.fromkeys(rungs, rates)), flags, jobs=jobs)
    best = best_rates(first)
    only_best = {rung: [rate] for rung, rate in best.items()}
    later = [one for seed in range(2, seeds + 1) for one in runs_of(seed, only_best)]
    found = [*first, *run_all(rows, later, flags, jobs=jobs)]
    return [row for row in found if row["lr"] == best[row["rung"]]]


def as_flags(keys: dict) -> list[str]:
    """Keys of the configuration as flags."""
    return [f"--{key}={value}" for key, value in keys.items()]


def overfit(rows: Rows, flags: list[str], pairs: Sequence[str], *, jobs: int) -> None:
    """Trains each pair on few images, and prints whether it learnt them."""
    runs = [({"pair": pair}, PAIRS[pair]) for pair in pairs]
    for row in run_all(rows, runs, flags, jobs=jobs):
        learnt = {"AP50": row["AP50"], "learnt": row["AP50"] >= OVERFITTED}
        print_row(f"overfit {row['pair']}", learnt)


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", nargs="+", choices=("ladder", "overfit"), default=["ladder"])
    parser.add_argument("--rungs", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--lr", nargs="+", type=float, default=[0.001, 0.002, 0.004])
    parser.add_argument("--updates", type=int, default=540)
    parser.add_argument("--images", type=int, default=1080, help="drawn for training")
    parser.add_argument("--val_images", type=int, default=200, help="drawn for evaluation")
    parser.add_argument("--overfit_updates", type=int, default=600)
    parser.add_argument("--overfit_images", type=int, default=16)
    parser.add_argument("--jobs", type=positive, default=1, help="runs at a time")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "output" / "ladder")
    args = parse(parser, argv)
    rows = Rows(args.folder / "rows.jsonl")
    if "ladder" in args.rows:
        print_row("ladder rule", {"rule": RULE})
        flags = shared_flags(args, images=args.images, updates=args.updates)
        rungs = [rung for rung in PARTS if rung in args.rungs]  # in the ladder's order
        found = climb(rows, flags, rungs, seeds=args.seeds, rates=args.lr, jobs=args.jobs)
        for row in summaries(found, rungs):
            print_row(f"ladder {row['rung']}", row)
        draw(found, rungs, args.folder / "ladder.png")
    if "overfit" in args.rows:
        extra = ["--val_split=train2017", "--augmentation=none"]
        sizes = {"images": args.overfit_images, "updates": args.overfit_updates}
        flags = shared_flags(args, **sizes, extra=extra)
        overfit(rows, flags, args.pairs, jobs=args.jobs)


if __name__ == "__main__":
    main()
