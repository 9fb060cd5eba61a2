"""What a rank of scaling.py does; scaling.py starts it, alone or under mpirun or msrun.

    mpirun -n 2 python benchmarks/scaling_rank.py updates --output=FILE

updates: whole updates of the base network on a batch that stays the same.
reduce: sums of gradients alone; see scaling_sums.py.

The main rank writes a JSON list: what each rank measured, a dictionary of numbers. Flags of
train.py change the network.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import scaling_sums
from benchmarks.common import MILLI, make_parser, measure, parse
from benchmarks.updates import LR, build_update, configure_update

WARM_UP = 2  # updates: the first compiles, in the second kernels are still set up


def time_updates(cfg, ranks, *, steps: int) -> dict[str, float]:
    """Seconds of an update, milliseconds of its parts, CPU-seconds an image; means over the steps.

    Raises:
        RuntimeError: an update was skipped, and so was shorter than it should be.
    """
    from src.runtime.stopwatch import COMPUTE, REDUCE, UPDATE, WAIT, Stopwatch

    names = {COMPUTE: "forward_backward", WAIT: "other_ranks", REDUCE: "reduce", UPDATE: "update"}
    clock, done = Stopwatch(precise=True), []
    step, batches = build_update(cfg, seed=ranks.rank, clock=clock, ranks=ranks)
    step.sync()
    for _ in range(WARM_UP):
        step(batches, LR)
    ranks.sync()
    clock.lap()
    wall, cpu = measure(lambda: done.extend(step(batches, LR).updated for _ in range(steps)))
    parts = clock.lap()
    if not all(done):
        raise RuntimeError("an update was skipped: its loss or gradients were not finite")
    return {
        "update_seconds": wall / steps,
        "cpu_seconds_per_image": cpu / steps / cfg.batch_size,
        **{f"{name}_ms": parts.get(part, 0) / steps * MILLI for part, name in names.items()},
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("work", choices=("updates", "reduce"))
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--batch_size", type=int, default=1, help="of this rank")
    parser.add_argument("--steps", type=int, default=3, help="timed updates")
    parser.add_argument("--threads", type=int, default=1, help="of this rank")
    parser.add_argument("--output", type=Path, required=True, help="the main rank's JSON")
    args = parse(parser, None)

    from src.distributed.join import build_device
    from src.distributed.launch import find_launch

    cfg = configure_update(args.flags, args.image_size, args.batch_size, cpu_threads=args.threads)
    ranks = build_device(cfg, find_launch())
    if args.work == "updates":
        own = time_updates(cfg, ranks, steps=args.steps)
    else:
        own = scaling_sums.time_sums(cfg, ranks)
    measured = ranks.gather_to_main(own)
    if ranks.is_main:
        args.output.write_text(json.dumps(measured))


if __name__ == "__main__":
    from src.distributed.command import run_command  # sets what MindSpore reads when it is imported

    run_command(main)
