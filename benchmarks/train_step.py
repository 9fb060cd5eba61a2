"""Times one training update of the base network and, beside it, torchvision's RetinaNet.

    python benchmarks/train_step.py --image_size 640 --batch_size 2 [--peer VENV/bin/python]

Prints a JSON line for each of --rows: step, what an update does besides computing (traffic; see
update_parts.py), and what a run costs beside it (overhead, memory, save; see run_costs.py). Each
network runs in a process of its own; with --peer they make their steps turn about, so a change in
the machine's speed meets both. A step is everything from a batch of images and boxes to updated
weights: assignment of anchors, forward, backward, clipping, SGD with momentum.
`first_step_seconds` counts from the start of the process.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.turns import GIGA, serve, take_turns

OBJECTS = 7  # a typical COCO image
CLASSES = 80
ROWS = ("step", "traffic", "overhead", "memory", "save")
CLIP_NORM = 10.0


def make_boxes(image_size: int):
    """OBJECTS boxes of sizes from a tenth to two thirds of the image."""
    import numpy as np

    sides = np.linspace(0.1, 0.66, OBJECTS) * image_size
    starts = np.linspace(0.3, 0.0, OBJECTS) * image_size
    corners = np.stack([starts, starts[::-1]], axis=1)
    return np.concatenate([corners, corners + sides[:, None]], axis=1).astype(np.float32)


def build_ours(image_size: int, batch_size: int, threads: int):
    """A function that makes one update, and the facts of the network."""
    import numpy as np
    from src.training.build import build_step

    from src.config.configuration import make_config
    from src.data.loader import TrainBatch
    from src.detection.anchors import build_anchors
    from src.detection.assign import MaxIoUAssigner
    from src.models.complexity import count_costs
    from src.models.ssd import build_ssd
    from src.runtime.device import set_up_device

    changes = {"image_size": [image_size, image_size], "clip_norm": CLIP_NORM}
    cfg = make_config([(changes, "benchmark")])
    set_up_device("CPU", cpu_threads=threads)
    generator = build_anchors(cfg)
    anchors = generator.boxes(cfg.image_size)
    network = build_ssd(cfg, generator.anchors_per_cell)
    update = build_step(cfg, network, anchors)
    assigner = MaxIoUAssigner(anchors, positive_iou=cfg.positive_iou)
    boxes, crowd = make_boxes(image_size), np.zeros(OBJECTS, bool)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, image_size, image_size, 3), dtype=np.uint8)
    batch_boxes = np.repeat(boxes[None], batch_size, axis=0)
    labels = np.tile(np.arange(OBJECTS, dtype=np.int32), (batch_size, 1))

    def step():
        assigned = np.stack([assigner(boxes, crowd).astype(np.int32) for _ in range(batch_size)])
        batch = TrainBatch(images, assigned, batch_boxes, labels, np.arange(batch_size), [])
        update([batch], 0.01)

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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=4e-4)
    images = [torch.rand(3, image_size, image_size) for _ in range(batch_size)]
    boxes = torch.tensor(make_boxes(image_size))
    targets = [{"boxes": boxes, "labels": torch.arange(OBJECTS)} for _ in range(batch_size)]

    def step():
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()

    return step, {"parameters": sum(p.numel() for p in model.parameters())}


def command(python: str, role: str, image_size: int, batch_size: int, threads: int) -> list[str]:
    """What starts a process of that role, "ours" or "peer"."""
    return [python, __file__, "--serve", role, *map(str, (image_size, batch_size, threads))]


def shown(found: dict, batch_size: int) -> dict:
    """A worker's times as they are printed."""
    return {
        "step_seconds": round(found["seconds"], 3),
        "cpu_seconds_per_image": round(found["cpu_seconds"] / batch_size, 3),
        "first_step_seconds": round(found["first_seconds"], 1),
        "peak_memory_gb": round(found["peak_gb"], 2),
        **found["facts"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    args = parser.parse_args()
    if args.serve:
        role, *numbers = args.serve
        build = {"ours": build_ours, "peer": build_peer}[role]
        serve(lambda: build(*map(int, numbers)))
    elif args.row:
        print_row(args)
    else:
        for row in args.rows:
            if row == "step":
                compare_steps(args)
            else:  # each in a process of its own
                command = [sys.executable, __file__, *sys.argv[1:], "--row", row]
                subprocess.run(command, check=True)


def print_row(args: argparse.Namespace) -> None:
    """Prints a row of run_costs.py as a JSON line."""
    import run_costs
    import update_parts

    size = {"image_size": [args.image_size] * 2, "batch_size": args.batch_size}
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the run logs
    row = {
        "traffic": lambda: update_parts.traffic(size),
        "overhead": lambda: run_costs.overhead(args.image_size, args.batch_size, args.steps),
        "memory": lambda: run_costs.memory(args.memory_size, args.batch_size, args.memory_steps),
        "save": lambda: run_costs.save(args.memory_size, args.batch_size),
    }[args.row]()
    output.write(json.dumps({"benchmark": f"train_step: {args.row}", **row}) + "\n")


def compare_steps(args: argparse.Namespace) -> None:
    """Prints the times of whole steps, beside the peer's where there is one."""
    sizes = (args.image_size, args.batch_size, args.threads)
    commands = {"ours": command(sys.executable, "ours", *sizes)}
    if args.peer:
        commands["peer"] = command(args.peer, "peer", *sizes)
    found = take_turns(commands, args.steps)
    results = {name: shown(times, args.batch_size) for name, times in found.items()}
    names = ("image_size", "batch_size", "steps", "threads", "peer")
    asked = {name: getattr(args, name) for name in names}
    line = {"benchmark": "train_step", **asked, **results["ours"]}
    if args.peer:
        line["peer"] = {"model": "torchvision retinanet_resnet50_fpn", **results["peer"]}
        keys = ("step_seconds", "cpu_seconds_per_image", "peak_memory_gb", "first_step_seconds")
        line["ratio_to_peer"] = {
            key: round(results["ours"][key] / results["peer"][key], 3) for key in keys
        }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
