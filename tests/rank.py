"""One rank of test_ranks.py: tries what ranks do together, and writes down what it found.

python rank.py OUTPUT_FOLDER [flags of train.py]
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, os.getcwd())

SHAPES = [(3, 5), (4,)] * 60  # more than are joined at once
UPDATES = 20


class Enough:
    """A callback of each rank; that of rank 2 ends the run after UPDATES updates."""

    all_ranks = True

    def step(self, step):
        is_asking = os.environ["OMPI_COMM_WORLD_RANK"] == "2" and step.step == UPDATES
        return f"{step.step} are enough" if is_asking else None


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


def train(cfg, ranks, folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Parameters after a run, and whether its detections are those of one process."""
    from src.data.dataset import build_annotations
    from src.detection.postprocess import build_postprocessor
    from src.distributed.ranks import Ranks
    from src.evaluation.detect import detect_with
    from src.evaluation.split_loss import build_split_model
    from src.training.callbacks.loading import load_callbacks
    from src.training.compiling import compile_graphs
    from src.training.run_log import RunLog
    from src.training.setup import build_trainer

    log = RunLog(folder, ranks.rank)
    log.open()
    callbacks = load_callbacks(cfg.callbacks, is_main=ranks.is_main)
    annotations = build_annotations(cfg, training=True)
    trainer = build_trainer(cfg, annotations, log=log, ranks=ranks, callbacks=callbacks)
    trainer.train_step.sync()
    compile_graphs(cfg, trainer)
    trainer.run()
    split = build_annotations(cfg, training=False)
    model = build_split_model(cfg, trainer.network, split, build_postprocessor(cfg))
    shared, alone = (
        detect_with(trainer.network, cfg, split, ranks=own, model=model) for own in (ranks, Ranks())
    )
    parameters = trainer.train_step.parameters().items()
    arrays = {name: parameter.asnumpy().copy() for name, parameter in parameters}
    differing = differ_by_one_bit(trainer, ranks)
    found = {"shared": shared.rows.tolist(), "alone": alone.rows.tolist()}
    losses = {"shared_losses": shared.losses, "alone_losses": alone.losses}
    return arrays, {**found, **losses, "cores": ranks.cores(), "differing": differing}


def differ_by_one_bit(trainer, ranks) -> str:
    """What the check of the ranks says when the second one's first weight is not the others'."""
    import mindspore as ms

    from src.runtime.errors import RunError
    from src.training.agreement import check_same

    parameters = trainer.train_step.parameters()
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


def main() -> None:
    from src.distributed.launch import find_launch, prepare_environment

    launch = find_launch()
    prepare_environment(launch)
    from src.config.command_line import parse_args
    from src.distributed.join import build_device

    folder = Path(sys.argv[1])
    cfg = parse_args("", sys.argv[2:])
    ranks = build_device(cfg, launch)
    found = exchange(ranks)
    arrays = add_up(ranks)
    parameters, facts = train(cfg, ranks, folder)
    np.savez(folder / f"sums_{ranks.rank}.npz", **arrays)
    np.savez(folder / f"parameters_{ranks.rank}.npz", **parameters)
    (folder / f"found_{ranks.rank}.json").write_text(json.dumps({**found, **facts}))


if __name__ == "__main__":
    main()
