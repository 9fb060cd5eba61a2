"""Times one update and its sum of gradients over ranks, and predicts how far that scales.

    python benchmarks/scaling.py --image_size 640 --batch_size 2

Prints a JSON line for each of --rows; mpirun is found on PATH or beside the interpreter.

ranks: images per second of whole updates, with two threads and --batch_size images in all: one rank
    with both threads, two ranks with one each under mpirun (gradients added up by mpi4py in host
    buffers) and under msrun (by MindSpore, inside a graph). Also the milliseconds of an update in
    which a rank waits for the other one and adds up gradients, the latter's share, and CPU-seconds
    an image, since a shared machine disturbs them less. Medians over --rounds.
reduce: milliseconds to add up the gradients of the base network over two ranks, beside the bare
    transport and a copy of as many bytes; see scaling_sums.py.
prediction: efficiency at 8, 64 and 512 ranks of a cluster; see scaling_prediction.py.

The jobs of a round run one after the other, so that a change in the machine's speed meets all of
them. Each round starts them again, without the cache of graphs: each job compiles, but at 640 px
one rank alone takes 8 GB, so waiting jobs would not leave the machine to the others.
Flags of train.py change the network.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import scaling_prediction
from benchmarks.common import MILLI, make_parser, parse, print_row

ROWS = ("ranks", "reduce", "prediction")
RANKS = 2
THREADS = 2  # of a whole job, whatever its ranks
RANK_SCRIPT = Path(__file__).with_name("scaling_rank.py")
DIGITS = 4  # significant ones, in what is printed


@dataclass(frozen=True)
class Job:
    """Ranks that share THREADS.

    Args:
        launcher: "mpirun", "msrun", or "" for one rank on its own.
    """

    launcher: str
    ranks: int

    @property
    def name(self) -> str:
        """Ranks x threads of each, and the launcher, for the JSON line."""
        return f"{self.ranks} x {THREADS // self.ranks} {self.launcher}".strip()

    def run(self, work: str, flags: Sequence[str], **options: int) -> dict[str, float]:
        """What scaling_rank.py measured, means over the ranks.

        Args:
            work, flags, options: see scaling_rank.py.

        Raises:
            RuntimeError: the job failed.
        """
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "measured.json"
            options.update(threads=THREADS // self.ranks, output=output)
            own = [f"--{name}={value}" for name, value in options.items()]
            command = [*self._starter(folder), str(RANK_SCRIPT), work, *own, *flags]
            # msrun takes the first python of PATH; MindSpore leaves folders where it runs
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            environ = {**os.environ, "PATH": path}
            job = subprocess.run(command, cwd=folder, env=environ, stdout=sys.stderr)
            if job.returncode or not output.exists():
                raise RuntimeError(f"{' '.join(command)} ended with status {job.returncode}")
            ranks = json.loads(output.read_text())
        return {key: statistics.fmean(rank[key] for rank in ranks) for key in ranks[0]}

    def _starter(self, folder: str) -> list[str]:
        """The command line up to the script."""
        if self.launcher == "mpirun":
            options = "-allow-run-as-root --oversubscribe --bind-to none"
            return ["mpirun", *options.split(), "-n", str(self.ranks), sys.executable]
        if self.launcher == "msrun":
            options = f"--worker_num={self.ranks} --local_worker_num={self.ranks} --join=True"
            where = [f"--master_port={free_port()}", f"--log_dir={folder}/logs"]
            module = [sys.executable, "-m", "mindspore.parallel.cluster.run"]
            return [*module, *options.split(), *where]
        return [sys.executable]


ALONE = Job("", 1)
LAUNCHERS = ("mpirun", "msrun")


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def compare_ranks(args: argparse.Namespace) -> dict:
    """Whole updates of one rank and of two, round by round."""
    rounds = []
    for _ in range(args.rounds):
        measured = {}
        for job in (ALONE, *(Job(launcher, RANKS) for launcher in args.launchers)):
            own = job.run(
                "updates",
                args.flags,
                image_size=args.image_size,
                batch_size=args.batch_size // job.ranks,
                steps=args.steps,
            )
            measured[job.name] = {
                "images_per_second": args.batch_size / own["update_seconds"],
                "reduce_share": own["reduce_ms"] / own["update_seconds"] / MILLI,
                **own,
            }
        alone = measured[ALONE.name]["images_per_second"]
        for own in measured.values():
            own["ratio_to_one_rank"] = own["images_per_second"] / alone
        rounds.append(measured)
    asked = {key: getattr(args, key) for key in ("image_size", "batch_size", "steps", "rounds")}
    return {**asked, **{name: medians([r[name] for r in rounds]) for name in rounds[0]}}


def compare_sums(args: argparse.Namespace) -> dict:
    """The sum of gradients alone, by each transport."""
    found = {name: Job(name, RANKS).run("reduce", args.flags) for name in args.launchers}
    return {"ranks": RANKS, **{name: rounded(numbers) for name, numbers in found.items()}}


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number, rounded."""
    return rounded({key: statistics.median(r[key] for r in rounds) for key in rounds[0]})


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """The numbers with DIGITS significant digits; whole ones as integers."""
    return {
        key: int(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")
        for key, value in numbers.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--batch_size", type=int, default=2, help="of all ranks together")
    parser.add_argument("--steps", type=int, default=3, help="timed updates of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--launchers", nargs="+", choices=LAUNCHERS, default=LAUNCHERS)
    scaling_prediction.add_arguments(parser)
    args = parse(parser, argv)
    if args.batch_size % RANKS:
        parser.error(f"--batch_size is {args.batch_size}; expected a multiple of {RANKS}")
    rows = {"ranks": compare_ranks, "reduce": compare_sums, "prediction": scaling_prediction.row}
    for row in args.rows:
        print_row(f"scaling: {row}", rows[row](args))


if __name__ == "__main__":
    main()
