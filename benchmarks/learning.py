"""AP against CPU-seconds of training: this project, and beside it torchvision's RetinaNet.

    python benchmarks/learning.py [--backbones resnet18 resnet50] [--peer VENV/bin/python]

Both are trained from scratch on the same drawn images at the same input size, with as many threads,
each in a process of its own. Ours is train.py with the demo's recipe; flags of train.py change it.
The peer is trained at each of --rates, and the run of the highest AP at its end counts;
learning_peer.py says what the peer is. Lengths of runs are --updates and --peer_updates; of several
lengths all count.

CPU-seconds are those of training: start, compilation and data workers included, evaluations not.
Threads that wait sleep (OMP_WAIT_POLICY), or else waiting would count as work. Rows are kept in
--folder, so that an interrupted benchmark continues with the next run.

Prints JSON lines: each evaluation of each run, the best of each side, and the CPU-seconds in which
ours reaches the peer's best AP; draws learning.png.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import REPOSITORY, configure, make_parser, parse, print_row
from benchmarks.ladder import RECIPE, as_flags, shared_flags, stated_recipe
from benchmarks.ladder_rows import Rows

SCRIPTS = {side: str(Path(__file__).with_name(f"learning_{side}.py")) for side in ("ours", "peer")}
SCRATCH = "scratch"  # in args.folder: what the run that is under way writes


def train(command: Sequence[str], scratch: Path) -> list[dict]:
    """The points that a script writes to `scratch`/points.jsonl; RuntimeError if it fails."""
    shutil.rmtree(scratch, ignore_errors=True)  # of the run before
    scratch.mkdir(parents=True)
    log, points = scratch / "log.txt", scratch / "points.jsonl"
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("w") as text:
        done = subprocess.run(command, cwd=REPOSITORY, stdout=text, stderr=text, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    return [json.loads(line) for line in points.read_text().splitlines()]


def run(rows: Rows, facts: dict, command: Sequence[str], flags: Sequence[str]) -> dict:
    """The row of a run: `facts` with its points, from the file if it is there."""
    key = [*facts.values(), *flags]
    row = rows.find(key)
    if row is None:
        points = train([*command, *flags], rows.path.parent / SCRATCH)
        row = rows.add({**facts, "points": points, "flags": key})
    for point in row["points"]:
        name = " ".join(map(str, (*facts.values(), "at", point["updates"])))
        print_row(name, {key: value for key, value in point.items() if key != "updates"})
    return row


def run_ours(rows: Rows, args: argparse.Namespace, backbone: str, updates: int) -> dict:
    """Trains this project's detector, and evaluates it after each epoch."""
    recipe = configure([RECIPE])
    flags = shared_flags(
        args,
        images=args.images,
        updates=updates,
        extra=stated_recipe(),  # over what the ladder's runs share
        warmup_share=recipe.warmup_epochs / recipe.epoch_size,
    )
    more = [f"--backbone={backbone}", "--eval_interval=1", f"--cpu_threads={args.threads}"]
    flags = [*flags, *more]
    scratch = args.folder / SCRATCH
    command = [sys.executable, SCRIPTS["ours"], str(scratch / "points.jsonl")]
    facts = {"backbone": backbone, "side": "ours", "updates": updates, "lr": configure(flags).lr}
    return run(rows, facts, [*command, f"--output_path={scratch / 'run'}"], flags)


def run_peer(
    rows: Rows, args: argparse.Namespace, backbone: str, updates: int, rate: float
) -> dict:
    """Trains torchvision's detector on the same images, and evaluates it after each epoch."""
    cfg = configure([RECIPE, *args.flags])
    data = args.folder / f"data_{args.images}_{args.val_images}"
    keys = {
        "backbone": backbone,
        "channels": args.peer_channels,
        "classes": len(cfg.classes),
        "image_size": cfg.image_size[0],
        "updates": updates,
        "interval": args.images // cfg.batch_size,
        "batch_size": cfg.batch_size,
        "lr": rate,
        "threads": args.threads,
    }
    points = args.folder / SCRATCH / "points.jsonl"
    command = [args.peer, SCRIPTS["peer"], str(data), f"--points={points}"]
    facts = {"backbone": backbone, "side": "peer", "updates": updates, "lr": rate}
    return run(rows, facts, command, as_flags(keys))


def best_runs(runs: Sequence[dict]) -> list[dict]:
    """The run of each length that ends with the highest AP."""
    best: dict[int, dict] = {}
    for row in runs:
        known = best.get(row["updates"])
        if known is None or row["points"][-1]["AP"] > known["points"][-1]["AP"]:
            best[row["updates"]] = row
    return list(best.values())


def points_of(runs: Sequence[dict]) -> list[dict]:
    """The runs' points with each run's rate, in the order of their CPU-seconds."""
    points = [{"lr": row["lr"], **point} for row in best_runs(runs) for point in row["points"]]
    return sorted(points, key=lambda point: point["cpu_seconds"])


def reached(points: Sequence[dict], ap: float) -> float | None:
    """CPU-seconds of the first point with at least this AP; None without one."""
    return next((point["cpu_seconds"] for point in points if point["AP"] >= ap), None)


def compare(ours: Sequence[dict], peer: Sequence[dict]) -> dict:
    """CPU-seconds of two sides' points at the peer's best AP, and the other way round."""
    row = {}
    for target, points in (("peer", peer), ("ours", ours)):
        best = max(point["AP"] for point in points)
        row[f"best_AP_of_{target}"] = best
        row[f"cpu_seconds_to_best_AP_of_{target}"] = {
            "ours": reached(ours, best), "peer": reached(peer, best)
        }  # fmt: skip
    seconds = row["cpu_seconds_to_best_AP_of_peer"]
    row["ratio"] = seconds["ours"] and round(seconds["ours"] / seconds["peer"], 3)
    return row


def summarise(runs: Sequence[dict], backbone: str) -> None:
    """Prints the best point of each side, and how they compare."""
    sides = {}
    for side in SCRIPTS:
        if own := [row for row in runs if (row["backbone"], row["side"]) == (backbone, side)]:
            sides[side] = points_of(own)
            print_row(f"best {backbone} {side}", max(sides[side], key=lambda point: point["AP"]))
    if len(sides) == len(SCRIPTS):
        print_row(f"learning {backbone}", compare(**sides))


def draw(runs: Sequence[dict], backbones: Sequence[str], path: Path) -> None:
    """A PNG of AP over CPU-seconds; the peer's runs that do not count are pale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(backbones), 4), layout="constrained")
    for axes, backbone in zip(figure.subplots(1, len(backbones), squeeze=False)[0], backbones):
        for side, colour in (("ours", "C0"), ("peer", "C1")):
            own = [row for row in runs if (row["backbone"], row["side"]) == (backbone, side)]
            best = best_runs(own)
            for row in own:
                seconds = [point["cpu_seconds"] for point in row["points"]]
                name = {"ours": "this project", "peer": "torchvision's RetinaNet"}[side]
                label = f"{name}, {row['updates']} updates, rate {row['lr']:g}"
                alpha = 1 if row in best else 0.3
                aps = [point["AP"] for point in row["points"]]
                axes.plot(seconds, aps, "o-", color=colour, alpha=alpha, label=label, markersize=4)
        axes.set(title=backbone, xlabel="CPU-seconds of training", ylabel="AP", xscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend(
            fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18)
        )  # below, off the lines
    FigureCanvasAgg(figure).print_png(str(path))


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has torchvision")
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--updates", type=int, nargs="+", default=[540])
    parser.add_argument("--peer_updates", type=int, nargs="+", default=[1620])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0003, 0.0006, 0.0012])
    parser.add_argument("--peer_channels", type=int, default=256, help="of pyramid and heads")
    parser.add_argument("--images", type=int, default=1080, help="drawn for training")
    parser.add_argument("--val_images", type=int, default=200, help="drawn for evaluation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "output" / "learning")
    args = parse(parser, argv)
    args.folder = args.folder.absolute()
    rows, runs = Rows(args.folder / "rows.jsonl"), []
    for backbone in args.backbones:
        runs += [run_ours(rows, args, backbone, updates) for updates in args.updates]
        for updates in args.peer_updates if args.peer else ():
            runs += [run_peer(rows, args, backbone, updates, rate) for rate in args.rates]
        summarise(runs, backbone)
        draw(runs, args.backbones, args.folder / "learning.png")


if __name__ == "__main__":
    main()
