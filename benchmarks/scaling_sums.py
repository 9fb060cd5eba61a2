"""Times the sum of gradients over ranks, and what it is compared with: part of scaling_rank.py."""

import statistics
import time
from collections.abc import Callable

from benchmarks.common import MEGA, MILLI, measure

REPEATS = 7  # rounds
NUMBERS = 5  # losses, positives and news that an update adds up with the gradients


def time_sums(cfg, ranks) -> dict[str, float]:
    """Milliseconds of the project's sum over ranks, and of other work on arrays of the same size.

    Medians of REPEATS rounds, each of all of the following, with all ranks at once.

    call: until all sums can be read; see `time_round` for its parts.
    bare_allreduce: the transport alone, on one array.
    copy: from one array to another, by NumPy.
    arrays: of gradients as a graph leaves them; far below a copy where they are views.
    gradients_norm, sums_norm: a graph that reads the gradients, and one that reads the sums; as
    long as each other unless the sums are copied on the way.
    fill_in_copies, all_but_allreduce_in_copies: of the call's parts, as multiples of copy.
    """
    import numpy as np

    from src.detection.anchors import build_anchors
    from src.models.layers import statistics as norm_statistics
    from src.models.ssd import build_ssd

    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    weights, means = network.trainable_params(), norm_statistics(network)
    sum_over_ranks = ranks.make_sum(weights, means, NUMBERS)
    sum_over_ranks.compile()
    array = np.ones(NUMBERS + sum(p.size for p in [*weights, *means]), np.float32)
    call = build_call(sum_over_ranks, NUMBERS)
    make_gradients, others = build_gradients(weights), build_others(ranks, array)
    rows = [time_round(ranks, call, make_gradients, others) for _ in range(1 + REPEATS)]
    found = {key: statistics.median(row[key] for row in rows[1:]) for key in rows[0]}
    return {"floats": array.size, "mbytes": array.nbytes / MEGA, **found}


def build_gradients(weights) -> Callable[[], tuple]:
    """A function that gives tensors of the weights' shapes, new ones of a graph at each call."""
    import mindspore as ms
    import numpy as np

    from src.training.update_graphs import WeightedSum

    rng, half, graph = np.random.default_rng(0), ms.Tensor(0.5, ms.float32), WeightedSum()
    own = [ms.Tensor(rng.standard_normal(p.shape, np.float32)) for p in weights]

    def make_gradients():
        found = graph(half, half, *own, *own)
        found[-1].asnumpy()  # waits for the graph
        return found

    return make_gradients


def build_others(ranks, array) -> dict[str, Callable]:
    """What is timed beside the call, one after the other, each a function on (gradients, sums).

    The transport adds up what was just written, as in the call. The ranks do not meet in between:
    in a trial of mpi4py alone that made it take half as long again.

    Args:
        array: of the size of all that is added up.
    """
    import numpy as np

    from src.training.update_graphs import GlobalNorm

    target, norm = np.zeros_like(array), GlobalNorm()
    reduce = build_bare_reduce(ranks, target)
    return {
        "copy_ms": lambda gradients, sums: np.copyto(target, array),
        "bare_allreduce_ms": lambda gradients, sums: reduce(),
        "arrays_ms": lambda gradients, sums: [tensor.asnumpy() for tensor in gradients],
        "gradients_norm_ms": lambda gradients, sums: norm(*gradients).asnumpy(),
        "sums_norm_ms": lambda gradients, sums: norm(*sums).asnumpy(),
    }


def build_bare_reduce(ranks, array) -> Callable[[], object]:
    """A function that adds up an array over the ranks, in place under mpirun, and nothing else."""
    if ranks.is_in_graphs:
        import mindspore as ms
        from mindspore import nn, ops

        class AllReduce(nn.Cell):
            def __init__(self):
                super().__init__()
                self.all_reduce = ops.AllReduce()

            def construct(self, x):
                return self.all_reduce(x)

        tensor, all_reduce = ms.Tensor(array), AllReduce()
        return lambda: all_reduce(tensor).asnumpy()
    from mpi4py import MPI

    return lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, array)


def build_call(sum_over_ranks, count: int) -> Callable:
    """A function from gradients to (sums, seconds), the latter of its parts where there are any.

    Args:
        count: of the numbers that are added up with the gradients.
    """
    import mindspore as ms
    import numpy as np

    numbers, weight = ms.Tensor(np.ones(count, np.float32)), ms.Tensor(1, ms.float32)
    add_up, marks = getattr(sum_over_ranks, "add_up", None), []

    def marked(flat):
        marks.append(time.perf_counter())
        add_up(flat)
        marks.append(time.perf_counter())

    if add_up:
        sum_over_ranks.add_up = marked

    def call(gradients):
        marks[:] = [time.perf_counter()]
        _, sums = sum_over_ranks(numbers, gradients, weight)
        for tensor in sums:
            tensor.asnumpy()
        marks.append(time.perf_counter())
        return sums, [after - before for before, after in zip(marks, marks[1:])]

    return call


def time_round(
    ranks, call: Callable, make_gradients: Callable, others: dict[str, Callable]
) -> dict[str, float]:
    """Milliseconds of the call, its parts, and the others.

    Parts, where gradients go through a host buffer: fill, gradients and statistics into the buffer;
    allreduce; read, statistics out of the buffer, and an array of each sum.
    """
    gradients = make_gradients()
    ranks.sync()
    sums, seconds = call(gradients)
    row = {"call_ms": MILLI * sum(seconds)}
    if len(seconds) > 1:
        names = ("fill_ms", "allreduce_ms", "read_ms")
        row.update({name: MILLI * part for name, part in zip(names, seconds)})
    gradients = make_gradients()  # not yet read
    ranks.sync()
    for name, work in others.items():
        row[name] = MILLI * measure(lambda work=work: work(gradients, sums))[0]
    if len(seconds) > 1:
        row["fill_in_copies"] = row["fill_ms"] / row["copy_ms"]
        rest = row["fill_ms"] + row["read_ms"]
        row["all_but_allreduce_in_copies"] = rest / row["copy_ms"]
    return row
