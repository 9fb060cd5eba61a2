"""Times one training update of the base network and, beside it, torchvision's RetinaNet.

    python benchmarks/train_step.py --image_size 640 --batch_size 2 [--peer VENV/bin/python]

Prints a JSON line for each of --rows: step; traffic, what an update does besides computing (see
update_parts.py); overhead, memory and save, what a run adds to its updates (see run_costs.py). Each
row runs in a process of its own. With --peer the two networks alternate step by step, so that a
change in the machine's speed meets both. A step is everything from a batch of images and boxes to
updated weights: assignment of anchors, forward, backward, clipping, SGD with momentum.
`first_step_seconds` counts from the start of the process. Flags of train.py change our network.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import run_costs, update_parts
from benchmarks.common import GIGA, make_parser, parse, print_row
from benchmarks.processes import alternate, result, serve, start
from benchmarks.updates import CLIP_NORM, LR, OBJECTS, build_update, configure_update, make_boxes

CLASSES = 80
ROWS = ("step", "traffic", "overhead", "memory", "save")
COMPARED = {  # printed names, and those of a worker's times
    "step_seconds": "seconds",
    "cpu_seconds_per_image": "cpu_seconds",
    "peak_memory_gb": "peak_gb",
    "first_step_seconds": "first_seconds",
}


def build_ours(image_size: int, batch_size: int, threads: int, flags: Sequence[str]):
    """A function that makes one update, and the facts of the network."""
    import dataclasses

    import numpy as np

    from benchmarks.complexity import count_costs
    from src.detection.assign import build_assigner
    from src.runtime.device import set_up_device

    cfg = configure_update(flags, image_size, batch_size)
    set_up_device("CPU", cpu_threads=threads)
    update, (batch,) = build_update(cfg)
    assign = build_assigner(cfg)
    crowd = np.zeros(OBJECTS, bool)

    def step():
        assigned = np.stack([assign(boxes, crowd) for boxes in batch.boxes]).astype(np.int32)
        update([dataclasses.replace(batch, assigned=assigned)], LR)

    network = update.network.network
    cost = count_costs(network, cfg.image_size)["total"]
    facts = {
        "classes": network.num_classes,
        "parameters": cost.parameters,
        "forward_gflops_per_image": round(2 * cost.multiply_adds / GIGA, 2),
    }
    return step, facts


def build_peer(image_size: int, batch_size: int, threads: int):
    """The same for torchvision's retinanet_resnet50_fpn, trained from scratch."""
    import torch
    from torchvision.models.detection import retinanet_resnet50_fpn

    torch.set_num_threads(threads)
    model = retinanet_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES,
        min_size=image_size,
        max_size=image_size,
    ).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=4e-4)
    images = [torch.rand(3, image_size, image_size) for _ in range(batch_size)]
    boxes = torch.tensor(make_boxes(image_size, image_size))
    targets = [{"boxes": boxes, "labels": torch.arange(OBJECTS)} for _ in range(batch_size)]

    def step():
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()

    return step, {"parameters": sum(p.numel() for p in model.parameters())}


def compare_steps(args: argparse.Namespace) -> dict:
    """Times of whole steps, beside the peer's if there is one."""
    sizes = (args.image_size, args.batch_size, args.threads)
    commands = {"ours": [sys.executable, __file__, "--serve", "ours", *sizes, *args.flags]}
    if args.peer:
        commands["peer"] = [args.peer, __file__, "--serve", "peer", *sizes]
    found = alternate(commands, args.steps)
    rows = {name: times_row(times, args.batch_size) for name, times in found.items()}
    names = ("image_size", "batch_size", "steps", "threads", "peer")
    line = {**{name: getattr(args, name) for name in names}, **rows["ours"]}
    if args.peer:
        line["peer"] = {"model": "torchvision retinanet_resnet50_fpn", **rows["peer"]}
        line["ratio_to_peer"] = {
            name: round(found["ours"][key] / found["peer"][key], 3)
            for name, key in COMPARED.items()
        }
    return line


def times_row(found: dict, batch_size: int) -> dict:
    """A worker's times as they are printed."""
    return {
        "step_seconds": round(found["seconds"], 3),
        "cpu_seconds_per_image": round(found["cpu_seconds"] / batch_size, 3),
        "first_step_seconds": round(found["first_seconds"], 1),
        "peak_memory_gb": round(found["peak_gb"], 2),
        **found["facts"],
    }


def measure_row(row: str, args: argparse.Namespace) -> dict:
    """A row other than `step`, in this process."""
    if row == "traffic":
        return update_parts.traffic(configure_update(args.flags, args.image_size, args.batch_size))
    if row == "overhead":
        return run_costs.overhead(args.image_size, args.batch_size, args.steps, args.flags)
    if row == "memory":
        return run_costs.memory(args.memory_size, args.batch_size, args.memory_steps, args.flags)
    return run_costs.save(args.memory_size, args.batch_size, args.flags)


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after the first")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has torchvision")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--memory_steps", type=int, default=200)
    parser.add_argument("--memory_size", type=int, default=128, help="pixels; 640 takes an hour")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    args = parse(parser, argv)
    if args.serve:
        role, *sizes = args.serve[0], *map(int, args.serve[1:])
        serve(lambda: build_peer(*sizes) if role == "peer" else build_ours(*sizes, args.flags))
    elif args.row:
        with contextlib.redirect_stdout(sys.stderr):  # what the run logs
            row = measure_row(args.row, args)
        print(json.dumps(row))
    else:
        given = sys.argv[1:] if argv is None else argv
        for row in args.rows:
            own = row == "step"
            found = compare_steps(args) if own else result(start(__file__, *given, "--row", row))
            print_row("train_step" if own else f"train_step: {row}", found)


if __name__ == "__main__":
    main()
