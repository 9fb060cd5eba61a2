"""A run of train.py that also records the CPU-seconds of training; for learning.py.

    python benchmarks/learning_ours.py POINTS [flags of train.py]

Writes a JSON line to POINTS at each evaluation: its AP, and the CPU-seconds of this process and its
workers so far, start and compilation included, evaluations not.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import train
from benchmarks.common import make_parser
from benchmarks.ladder_rows import read_evaluation
from src.distributed.command import run_command
from src.runtime.signals import Interruption

TICKS = os.sysconf("SC_CLK_TCK")
PARENT, TIMES = 1, slice(11, 15)  # in /proc/PID/stat after the name; own and ended children's times


def tree_cpu_seconds() -> float:
    """CPU-seconds of this process and of all below it, ended ones included."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
    return sum(sum(map(int, stats[pid][TIMES])) for pid in tree(stats, os.getpid())) / TICKS


def tree(stats: dict[int, list[str]], root: int) -> list[int]:
    """The process and all below it."""
    found = [root]
    for parent in found:  # grows
        found += [pid for pid, stat in stats.items() if int(stat[PARENT]) == parent]
    return found


def record_evaluations(points: Path) -> None:
    """Lets every evaluation of a training run add a line to the file."""
    from src.training.trainer import Trainer

    evaluate, evaluating = Trainer.evaluate, 0.0

    def evaluate_and_record(trainer: Trainer, *args, **kwargs) -> None:
        nonlocal evaluating
        now = tree_cpu_seconds()
        evaluate(trainer, *args, **kwargs)
        row = {"updates": trainer.step, "cpu_seconds": round(now - evaluating, 1)}
        row |= read_evaluation(trainer.log.folder / "metrics.jsonl")
        with points.open("a") as file:
            file.write(json.dumps(row) + "\n")
        evaluating += tree_cpu_seconds() - now

    Trainer.evaluate = evaluate_and_record


def main(*, interruption: Interruption) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("points", type=Path, help="file to write")
    args, flags = parser.parse_known_args()
    record_evaluations(args.points)
    train.main(flags, interruption=interruption)


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
