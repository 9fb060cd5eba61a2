"""What a training run adds to its bare updates: rows of train_step.py, each in its own process.

overhead: clipping, moving averages, guard, logging and TensorBoard over the bare step. memory:
resident memory over many steps with all of that. save: how long a checkpoint holds up the loop.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.common import GIGA, MEGA, measure, median_seconds, resident_bytes
from benchmarks.updates import configure_update

EMA_DECAY = 0.9998
IMAGES = 24  # drawn; the same ones come again in each epoch
REPEATS = 7  # of what takes well under a second


@contextmanager
def running_trainer(
    image_size: int, batch_size: int, flags: Sequence[str], *, inside: str | None = None, **keys
) -> Iterator:
    """A trainer of the base network on drawn images, as train.py makes it.

    Args:
        inside: folder of its files; by default that of temporary files.
        keys: of the configuration.
    """
    from src.data.dataset import build_annotations
    from src.data.synthetic import CLASSES, write_dataset
    from src.distributed.join import build_device
    from src.training.callbacks.loading import NamedCallback
    from src.training.callbacks.tensorboard import TensorBoard
    from src.training.run_log import RunLog
    from src.training.setup import build_trainer

    scratch = tempfile.TemporaryDirectory(dir=inside)
    folder = Path(scratch.name)
    write_dataset(folder / "data", train=IMAGES, val=1, seed=1)
    run = {
        "coco_root": folder / "data",
        "classes": ["background", *CLASSES],
        "output_path": folder,
        "ema_decay": EMA_DECAY,
        "log_interval": 1,  # a line and a record each step: more than a real run writes
        "eval_interval": 0,
        "compile_cache": False,
        "epoch_size": 1000,
    }
    cfg = configure_update(flags, image_size, batch_size, **run, **keys)
    build_device(cfg)
    log = RunLog(folder)
    log.open()
    annotations = build_annotations(cfg, training=True)
    written = [NamedCallback("tensorboard", TensorBoard())]
    trainer = build_trainer(cfg, annotations, log=log, callbacks=written)
    trainer.tell(trainer.start())
    trainer.progress.start(0)
    try:
        yield trainer
    finally:
        trainer.progress.close()
        trainer.loader.close()
        trainer.tell(trainer.end("finished", ""))
        log.close()
        scratch.cleanup()


def make_bare_update(optimizer):
    """A cell that updates with the gradients as they are, and does nothing else."""
    from mindspore import nn, ops

    class BareUpdate(nn.Cell):
        def __init__(self, optimizer):
            super().__init__(auto_prefix=False)
            self.optimizer = optimizer

        def construct(self, lr, *gradients):
            return ops.depend(lr * 1, self.optimizer(gradients, lr))

    return BareUpdate(optimizer)


def overhead(image_size: int, batch_size: int, steps: int, flags: Sequence[str] = ()) -> dict:
    """Seconds that a whole step adds to a bare one: of each part, and of alternating steps."""
    with running_trainer(image_size, batch_size, flags, profile=True) as trainer:
        found = compare_with_bare(trainer, steps)
    return {"image_size": image_size, "batch_size": batch_size, **found}


def compare_with_bare(trainer, steps: int) -> dict:
    """`overhead` of a trainer that profiles."""
    import mindspore as ms

    from src.runtime.stopwatch import HOOKS

    step, batch = trainer.train_step, next(trainer.loader.epoch(0))
    arrays = [batch.images, batch.assigned, batch.boxes, batch.labels]
    one, none = ms.Tensor(1, ms.float32), ms.Tensor(0, ms.float32)
    bare_update = make_bare_update(step.update.optimizer)

    def gradients():
        losses, _, found = step.gradients(*map(ms.Tensor, arrays), one)
        losses.asnumpy()
        return found

    def bare():
        bare_update(none, *gradients()).asnumpy()

    def whole():
        trainer.update([batch], is_saved=False)

    bare()
    whole()
    trainer.progress.restart()
    whole()
    pairs = [(measure(bare), measure(whole)) for _ in range(steps)]
    found = gradients()
    norm = warm_median(lambda: step.sums.readout(one.reshape(1), *found).asnumpy())
    full = warm_median(lambda: step.update(none, one, one, *found).asnumpy())
    plain = warm_median(lambda: bare_update(none, *found).asnumpy())
    hooks = trainer.progress.session.parts[HOOKS] / trainer.progress.session.updates
    bare_seconds = statistics.median(b[0] for b, _ in pairs)
    return {
        "bare_step_seconds": round(bare_seconds, 3),
        "norm_seconds": round(norm, 4),
        "scaling_averages_and_backup_seconds": round(full - plain, 4),
        "hooks_seconds": round(hooks, 4),
        "overhead": round((norm + full - plain + hooks) / bare_seconds, 4),
        "overhead_of_whole_steps": ratio(pairs, 0),
        "overhead_of_whole_steps_in_cpu_seconds": ratio(pairs, 1),
    }


def warm_median(work: Callable[[], object]) -> float:
    """Median seconds over REPEATS calls, after one that is not timed."""
    work()
    return median_seconds(work, REPEATS)


def ratio(pairs: list, column: int) -> float:
    """What the second of each pair takes beyond the first, as a share; median of all pairs."""
    return round(statistics.median(w[column] / b[column] for b, w in pairs) - 1, 4)


def memory(image_size: int, batch_size: int, steps: int, flags: Sequence[str] = ()) -> dict:
    """Resident memory after a tenth of the steps and after all of them."""
    with running_trainer(image_size, batch_size, flags) as trainer:
        found = watch_memory(trainer, steps)
    return {"image_size": image_size, "batch_size": batch_size, "steps": steps, **found}


def watch_memory(trainer, steps: int) -> dict:
    """`memory` of a trainer, over its next steps."""
    from src.training.profile import all_updates

    resident = []
    with closing(all_updates(trainer)) as updates:
        for batches in islice(updates, steps):
            trainer.update(batches, is_saved=False)
            resident.append(resident_bytes())
    early = max(steps // 10, 1)
    growth = resident[-1] - resident[early - 1]
    return {
        "early_gb": round(resident[early - 1] / GIGA, 3),
        "late_gb": round(resident[-1] / GIGA, 3),
        "growth_mb_per_100_steps": round(growth / MEGA / max(steps - early, 1) * 100, 2),
    }


def save(image_size: int, batch_size: int, flags: Sequence[str] = ()) -> dict:
    """Seconds that saving holds up the loop, for the weights alone and for all that is saved."""
    with running_trainer(image_size, batch_size, flags, inside=".") as trainer:  # runs' disk
        return time_saving(trainer)


def time_saving(trainer) -> dict:
    """`save` of a trainer."""
    checkpoints, network, state = trainer.checkpoints, trainer.network, trainer.state()
    parameters = trainer.train_step.parameters()
    row = {}
    for name, path, work in (
        ("weights", checkpoints.best, lambda: checkpoints.save_best(network, state)),
        ("all", checkpoints.last, lambda: checkpoints.save(parameters, state)),
    ):
        seconds = round(warm_median(work), 3)
        row[name] = {"megabytes": round(path.stat().st_size / MEGA, 1), "seconds": seconds}
    return row
