"""What the ranks of a job do together in a trial: sums, and updates that must keep them equal."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from src.config.configuration import Config
from src.doctor.trial_update import RATES, make_batch, make_step, trial_config, update

KNOWN = np.arange(1, 1001, dtype=np.float32)  # rank r gives r + 1 times these; float32 is exact
GRADIENT_FLOATS, GRADIENT_PARTS = 33_300_000, 20  # of ResNet50: 133 MB
TIMED_SUMS = 3
RANK_UPDATES = 2


def run_together(
    target: str, case: Sequence[str], facts: Mapping[str, Any], launch
) -> dict[str, Any]:
    """Joins the other ranks and returns what they find; only the main rank's answer is complete.

    The `case` is an optimizer and a precision; the main rank collects the `facts` of all.
    """
    from src.distributed.join import build_device
    from src.runtime.device import use_full_float32

    cfg = trial_config(target, *case)
    ranks = build_device(cfg, launch)
    use_full_float32(target)
    ranks.idle()
    answer = {"ranks": ranks.gather(facts), "transport": ranks.describe()}
    answer["wrong_sums"] = ranks.gather(count_wrong_sums(ranks))
    answer["sum_seconds"] = time_sum(ranks)
    step = make_step(cfg, ranks)
    step.sync()
    # all ranks with the same batch make the update of one process with it
    answer["updates"] = [update(cfg, step)]
    answer["differing"] = find_difference(ranks, cfg, step)
    ranks.gather(None)  # no rank leaves while another one is at work
    return answer


def gather_facts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The facts of all ranks of mpirun, before any waits for another one's device."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.allgather(facts)


def sharing(ranks: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Groups of ranks that take the same card of the same machine."""
    takers: dict[tuple[str, str], list[int]] = {}
    for number, rank in enumerate(ranks):
        if rank["card"]:
            takers.setdefault((rank["host"], rank["card"]), []).append(number)
    return [numbers for numbers in takers.values() if len(numbers) > 1]


def build_sum(ranks, arrays: Sequence[np.ndarray]) -> Callable:
    """A function that sums over the ranks; returns (sum of 1, sums of the arrays as tensors)."""
    import mindspore as ms

    tensors = [ms.Tensor(array) for array in arrays]
    weights = [ms.Parameter(t, name=f"w{i}") for i, t in enumerate(tensors)]
    summed = ranks.make_sum(weights, [], 1)
    summed.compile()
    one = ms.Tensor(np.ones(1, np.float32)), ms.Tensor(1, ms.float32)
    return lambda: summed(one[0], tensors, one[1])


def count_wrong_sums(ranks) -> int:
    """How many sums of known whole numbers are not exact on this rank."""
    count, sums = build_sum(ranks, [KNOWN * (ranks.rank + 1)])()
    expected = KNOWN * (ranks.size * (ranks.size + 1) // 2)
    return int((sums[0].asnumpy() != expected).sum()) + int(count.asnumpy()[0] != ranks.size)


def time_sum(ranks) -> float:
    """Median seconds of a sum of as many floats as ResNet50 has gradients."""
    part = np.full(GRADIENT_FLOATS // GRADIENT_PARTS, 1.0, np.float32)
    call = build_sum(ranks, [part] * GRADIENT_PARTS)
    times = []
    for _ in range(1 + TIMED_SUMS):  # the first one sets up connections
        ranks.sync()
        started = time.perf_counter()
        call()[0].asnumpy()
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def find_difference(ranks, cfg: Config, step) -> str:
    """What differs between ranks after updates with different images; "" for nothing."""
    from src.runtime.errors import RunError
    from src.training.agreement import check_same

    for number in range(RANK_UPDATES):
        batch = make_batch(cfg, cfg.seed + ranks.rank + ranks.size * number)
        report = step([batch], RATES[cfg.optimizer])
        if not report.updated:
            return (
                f"update {number + 1}: the loss is {report.loss}, the norm {report.gradient_norm}"
            )
    try:
        check_same(ranks, step.parameters())
    except RunError as error:
        return str(error).partition(";")[0]
    return ""
