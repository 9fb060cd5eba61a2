"""What an update does besides computing, and where its time goes on the device at hand.

    python benchmarks/update_parts.py [--steps N] [flags of train.py, --device_target=GPU say]

Prints a JSON line. The counts are also a row of train_step.py: `traffic`. Batches are made
beforehand, so that the input pipeline has no part in it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import (
    GIGA,
    MEGA,
    configure,
    make_parser,
    measure,
    median_seconds,
    parse,
    print_row,
)
from benchmarks.updates import LR, build_update

REPEATS = 8  # of the parts
WARM_UP = 3  # updates


def traffic(cfg) -> dict:
    """Counts of one update, the second; see `count_traffic`."""
    from src.distributed.join import build_device

    build_device(cfg)
    step, batches = build_update(cfg)
    step(batches, LR)
    return count_traffic(step, batches)


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
        step(batches, LR)
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
    for _ in range(WARM_UP):
        step(batches, LR)
    whole = median_seconds(lambda: step(batches, LR), steps)
    losses, _, gradients = step._gradients(batches)
    losses[-1].asnumpy()
    parts = {
        "gradients_called": lambda: step._gradients(batches),
        "gradients": lambda: step._gradients(batches)[0][-1].asnumpy(),
        "readout": lambda: step.sums.readout(losses[0], *gradients).asnumpy(),
        "update": lambda: step.update(none, one, one, *gradients).asnumpy(),
    }
    return {"whole": whole, **{n: median_seconds(work, REPEATS) for n, work in parts.items()}}


def time_evaluation(cfg, network) -> dict[str, float]:
    """Median seconds of a batch's forward pass, with its best candidates or all outputs read."""
    import numpy as np

    from src.detection.anchors import build_anchors
    from src.prediction.network_model import CandidateModel, NetworkModel

    network.set_train(False)
    images = np.zeros((cfg.batch_size, *cfg.image_size, 3), np.uint8)
    anchors = build_anchors(cfg)
    models = {
        "candidates": CandidateModel(network, anchors, cfg.batch_size, cfg.pre_nms_top_k),
        "all_outputs": NetworkModel(network, anchors, cfg.batch_size),
    }
    row = {}
    for name, model in models.items():
        model.forward(images)  # compiles
        row[name] = median_seconds(lambda model=model: model.forward(images), REPEATS)
    return row


def card_gigabytes(target: str) -> float:
    """Most memory of a card that was ever allocated; 0 on a CPU."""
    import mindspore as ms

    return ms.runtime.max_memory_allocated() / GIGA if target != "CPU" else 0


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=24, help="timed updates")
    args = parse(parser, argv)
    from src.distributed.join import build_device

    cfg = configure(args.flags, pretrained="")
    build_device(cfg)
    step, batches = build_update(cfg)
    row = {"flags": args.flags, "first_update": measure(lambda: step(batches, LR))[0]}
    row.update(time_parts(step, batches, args.steps))
    row["peak_gb"] = card_gigabytes(cfg.device_target)
    row.update(count_traffic(step, batches))
    row["evaluation"] = time_evaluation(cfg, step.network.network)
    print_row("update_parts", row)


if __name__ == "__main__":
    main()
