"""A callback of each rank: tries what ranks do together when they have trained, and writes it down.

`found_N.json` and two `.npz` are beside the run's folder; test_distributed.py reads them.
"""

import json
import os
from pathlib import Path

import numpy as np

SHAPES = [(3, 5), (4,)] * 60  # more than are joined at once
UPDATES = 12  # after which the callback of rank 1 ends the run
IMAGES = 9  # that are evaluated, not as many for each rank


class Rank:
    all_ranks = True

    def start(self, start):
        from src.training.trainer import Trainer

        sound = Trainer.outcome

        def examine_first(trainer):
            examine(trainer, start.folder.parent)
            return sound(trainer)

        Trainer.outcome = examine_first

    def step(self, step):
        is_asking = os.environ["OMPI_COMM_WORLD_RANK"] == "1" and step.step == UPDATES
        return f"{step.step} are enough" if is_asking else None


def examine(trainer, folder: Path) -> None:
    """Tries all, and writes what this rank found."""
    ranks = trainer.ranks
    parameters = trainer.train_step.parameters().items()
    np.savez(folder / f"parameters_{ranks.rank}.npz", **{n: p.asnumpy() for n, p in parameters})
    np.savez(folder / f"sums_{ranks.rank}.npz", **add_up(ranks))
    found = {**exchange(ranks), **evaluate(trainer), "cores": ranks.cores()}
    found["differing"] = differ_by_one_bit(trainer)
    (folder / f"found_{ranks.rank}.json").write_text(json.dumps(found))


def exchange(ranks) -> dict:
    """What messages arrive."""
    return {
        "gather": ranks.gather({"rank": ranks.rank, "text": "x" * 3**ranks.rank}),
        "gather_to_main": ranks.gather_to_main([ranks.rank]),
        "from_main": ranks.from_main(["of rank", ranks.rank]),
        "on_main": ranks.on_main(lambda: f"done by {ranks.rank}"),
    }


def add_up(ranks) -> dict[str, np.ndarray]:
    """This rank's numbers, gradients and statistics, and their sums."""
    import mindspore as ms

    rng = np.random.default_rng(ranks.rank)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]
    weights = [ms.Parameter(ms.Tensor(a), name=f"w{i}") for i, a in enumerate(arrays)]
    statistic = ms.Parameter(ms.Tensor(arrays[1]), name="statistic")
    add = ranks.make_sum(weights, [statistic], 2)
    add.compile()
    weight = ranks.rank + 1.0
    numbers = ms.Tensor(np.array([weight, -1], np.float32))
    numbers, sums = add(numbers, [ms.Tensor(a) for a in arrays], ms.Tensor(weight, ms.float32))
    found = {"numbers": numbers.asnumpy(), "statistic": statistic.asnumpy()}
    found.update({f"sum{i}": s.asnumpy().copy() for i, s in enumerate(sums)})
    ranks.broadcast(weights)
    found.update({f"broadcast{i}": w.asnumpy() for i, w in enumerate(weights)})
    return found


def evaluate(trainer) -> dict:
    """Detections and losses of the ranks together, and of each alone."""
    from src.data.dataset import build_annotations
    from src.distributed.ranks import Ranks
    from src.evaluation.detect import detect_with

    evaluator = trainer.evaluator
    split = build_annotations(evaluator.cfg, training=False).take(np.arange(IMAGES))
    shared, alone = (
        detect_with(evaluator.network, evaluator.cfg, split, ranks=own, model=evaluator.model)
        for own in (trainer.ranks, Ranks())
    )
    rows = {"shared": shared.rows.tolist(), "alone": alone.rows.tolist()}
    return {**rows, "shared_losses": shared.losses, "alone_losses": alone.losses}


def differ_by_one_bit(trainer) -> str:
    """What the check of the ranks says when the second one's first weight is not the others'."""
    import mindspore as ms

    from src.runtime.errors import RunError
    from src.training.agreement import check_same

    ranks, parameters = trainer.ranks, trainer.train_step.parameters()
    check_same(ranks, parameters)
    if ranks.rank == 1:
        weight = trainer.network.trainable_params()[0]
        array = weight.asnumpy().copy()
        array.view(np.int32).flat[0] ^= 1
        weight.set_data(ms.Tensor(array))
    try:
        check_same(ranks, parameters)
    except RunError as error:
        return str(error)
    return ""
