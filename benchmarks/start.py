"""Times the start of a training run: the first, which compiles, and the second, which need not.

    python benchmarks/start.py [--config_path RECIPE] [--pairs 3]

Prints a JSON line: seconds from the start of the process to the first update, medians of several
pairs of runs, each pair in a folder of its own. By default the demo's recipe, on its drawn images;
flags of train.py are passed on.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import REPOSITORY, make_parser, parse, print_row

FIRST_UPDATE = "made the first update"
VAL_IMAGES = 8  # are evaluated at the end, after what is timed


def first_update_seconds(*flags: str) -> float:
    """Seconds until a run of train.py has made an update."""
    command = [sys.executable, "train.py", *flags, "--max_steps=1", "--eval_interval=10"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    seconds = None
    for line in process.stdout:
        if FIRST_UPDATE in line:
            seconds = time.perf_counter() - started
    if process.wait() or seconds is None:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--config_path", default="config/ssd_resnet50_fpn_demo.yaml")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--images", type=int, default=1080, help="drawn for training")
    args = parse(parser, argv)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        drawn = [f"--train={args.images}", f"--val={VAL_IMAGES}"]
        command = [sys.executable, "-m", "src.data.synthetic", str(data), *drawn]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        for pair in range(args.pairs):
            output = Path(folder) / str(pair) / "run"
            flags = [f"--config_path={args.config_path}", f"--coco_root={data}", *args.flags]
            times.append([first_update_seconds(*flags, f"--output_path={output}") for _ in "12"])
    first, second = (statistics.median(column) for column in zip(*times))
    line = {
        "config_path": args.config_path,
        "first_seconds": round(first, 1),
        "second_seconds": round(second, 1),
        "ratio": round(statistics.median(a / b for a, b in times), 2),
    }
    print_row("start", line)


if __name__ == "__main__":
    main()
