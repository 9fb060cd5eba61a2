"""What an update does besides computing, and where its time goes on the device at hand.

    python benchmarks/update_parts.py [--steps N] [flags of train.py, --device_target=GPU say]

Prints a JSON line. The first part is also a row of train_step.py: `traffic`. Batches are made
beforehand, so that the input pipeline has no part in it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

OBJECTS = 20  # G of a batch
REPEATS = 8  # of the parts
MEGA, GIGA = 1e6, 1e9
RATE = 0.01


def traffic(keys: dict) -> dict:
    """Counts of one update; see `count_traffic`."""
    step, batches = build(keys)
    step(batches, RATE)
    return count_traffic(step, batches)


def build(keys: dict):
    """A step of the configuration with these keys, from scratch, and batches for an update."""
    from src.config.configuration import make_config
    from src.distributed.join import build_device

    cfg = make_config([({"pretrained": "", **keys}, "benchmark")])
    build_device(cfg)
    return build_from(cfg)


def build_from(cfg):
    """`build` on the device that is set up already."""
    from src.training.build import build_step

    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd

    generator = build_anchors(cfg)
    anchors = generator.boxes(cfg.image_size)
    network = build_ssd(cfg, generator.anchors_per_cell)
    step = build_step(cfg, network, anchors)
    return step, [make_batch(cfg, anchors, seed) for seed in range(cfg.accumulate)]


def make_batch(cfg, anchors, seed: int):
    """A TrainBatch of noise with OBJECTS boxes in each image."""
    import numpy as np

    from src.data.loader import TrainBatch
    from src.detection.assign import build_assigner

    rng, n, size = np.random.default_rng(seed), cfg.batch_size, min(cfg.image_size)
    images = rng.integers(0, 256, (n, *cfg.image_size, 3), dtype=np.uint8)
    centres = rng.uniform(0.1, 0.9, (n, OBJECTS, 2)) * size
    halves = rng.uniform(0.03, 0.2, (n, OBJECTS, 2)) * size
    corners = np.concatenate([centres - halves, centres + halves], axis=-1)
    boxes = np.clip(corners, 0, size).astype(np.float32)
    assigner = build_assigner(cfg)
    assigned = np.stack([assigner(b, np.zeros(OBJECTS, bool)) for b in boxes]).astype(np.int32)
    labels = rng.integers(0, len(cfg.classes) - 1, (n, OBJECTS)).astype(np.int32)
    return TrainBatch(images, assigned, boxes, labels, np.arange(n), [])


def count_traffic(step, batches) -> dict:
    """Counts over one update of one rank.

    copied_mb: arrays copied on the host into tensors; waits: results that the host asks for;
    summed_tensors: gradients and statistics that several ranks add up; messages: in which they do
    on a CPU. tests/test_gpu.py counts those of a GPU.
    """
    import mindspore as ms
    import numpy as np

    found = {"copied": 0, "waits": 0}
    construct, read = ms.Tensor.__init__, ms.Tensor.asnumpy

    def counting_construct(self, data=None, *args, **kwargs):
        if isinstance(data, np.ndarray):
            found["copied"] += data.nbytes
        construct(self, data, *args, **kwargs)

    def counting_read(self):
        found["waits"] += 1
        return read(self)

    ms.Tensor.__init__, ms.Tensor.asnumpy = counting_construct, counting_read
    try:
        step(batches, RATE)
    finally:
        ms.Tensor.__init__, ms.Tensor.asnumpy = construct, read
    return {
        "copied_mb": round(found["copied"] / MEGA, 2),
        "waits": found["waits"],
        **count_messages(step),
    }


def count_messages(step) -> dict:
    """How many tensors ranks on CPU add up, and by how many sums of an array."""
    import mindspore as ms
    import numpy as np

    from src.distributed.gradient_sum import HostSum
    from src.models.layers import statistics as norm_statistics

    weights, means, calls = step.update.optimizer.parameters, norm_statistics(step.network), []
    add = HostSum(weights, means, 1, ranks=2, add_up=calls.append)
    gradients = [ms.Tensor(np.zeros(w.shape, np.float32)) for w in weights]
    add(ms.Tensor(np.zeros(1, np.float32)), gradients, ms.Tensor(1, ms.float32))
    return {"summed_tensors": 1 + len(weights) + len(means), "messages": len(calls)}


def time_parts(step, batches, steps: int) -> dict[str, float]:
    """Median seconds of whole updates, and of their graphs, each waited for."""
    import mindspore as ms

    one, none = ms.Tensor(1, ms.float32), ms.Tensor(0, ms.float32)
    for _ in range(3):
        step(batches, RATE)
    whole = [seconds(lambda: step(batches, RATE)) for _ in range(steps)]
    losses, _, gradients = step._gradients(batches)
    losses[-1].asnumpy()
    parts = {
        "gradients_called": lambda: step._gradients(batches),
        "gradients": lambda: step._gradients(batches)[0][-1].asnumpy(),
        "readout": lambda: step.readout(losses[0], *gradients).asnumpy(),
        "update": lambda: step.update(none, one, one, *gradients).asnumpy(),
    }
    row = {name: median(work) for name, work in parts.items()}
    return {"whole": statistics.median(whole), **row}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(work: Callable[[], object]) -> float:
    """Median wall time of REPEATS calls."""
    return statistics.median(seconds(work) for _ in range(REPEATS))


def time_evaluation(cfg, network) -> dict[str, float]:
    """Median seconds of a batch's forward pass, with its best candidates or all outputs read."""
    import numpy as np

    from src.detection.anchors import build_anchors
    from src.prediction.inference import CandidateModel, NetworkModel

    network.set_train(False)
    images = np.zeros((cfg.batch_size, *cfg.image_size, 3), np.uint8)
    anchors = build_anchors(cfg)
    models = {
        "candidates": CandidateModel(network, anchors, cfg.batch_size, cfg.pre_nms_top_k),
        "all_outputs": NetworkModel(network, anchors, cfg.batch_size),
    }
    row = {}
    for name, model in models.items():
        model.forward(images)
        row[name] = median(lambda model=model: model.forward(images))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=24, help="timed updates")
    args, flags = parser.parse_known_args()
    from src.config.command_line import parse_args
    from src.distributed.join import build_device

    cfg = parse_args(__doc__, ["--pretrained=", *flags])
    build_device(cfg)
    import mindspore as ms

    step, batches = build_from(cfg)
    first = seconds(lambda: step(batches, RATE))
    row = {"flags": flags, "first_update": first, **time_parts(step, batches, args.steps)}
    row["peak_gb"] = ms.runtime.max_memory_allocated() / GIGA if cfg.device_target != "CPU" else 0
    row.update(count_traffic(step, batches))
    row["evaluation"] = time_evaluation(cfg, step.network.network)
    print(json.dumps({"benchmark": "update_parts", **row}))


if __name__ == "__main__":
    main()
