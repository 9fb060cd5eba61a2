"""What a training run costs beside its bare steps: rows of train_step.py, each in its own process.

overhead: clipping, moving averages, guard, logging and TensorBoard over the bare step. memory:
resident memory over many steps with all of that. save: how long a checkpoint holds up the loop.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

GIGA = 1e9
EMA_DECAY = 0.9998
CLIP_NORM = 10.0
IMAGES = 24  # drawn; the same ones come again in each epoch
REPEATS = 7  # of what takes well under a second


def make_trainer(folder: Path, image_size: int, batch_size: int, **changes):
    """A trainer of the base network on drawn images, as train.py makes it."""
    from src.config.configuration import make_config
    from src.data.dataset import build_annotations
    from src.data.synthetic import CLASSES, write_dataset
    from src.distributed.join import build_device
    from src.training.run_log import RunLog
    from src.training.trainer import Trainer

    write_dataset(folder / "data", train=IMAGES, val=1, seed=1)
    keys = {
        "coco_root": str(folder / "data"),
        "classes": ["background", *CLASSES],
        "output_path": str(folder),
        "image_size": [image_size, image_size],
        "batch_size": batch_size,
        "clip_norm": CLIP_NORM,
        "ema_decay": EMA_DECAY,
        "log_interval": 1,  # a line and a record each step: more than a real run writes
        "eval_interval": 0,
        "compile_cache": False,
        "epoch_size": 1000,
        **changes,
    }
    cfg = make_config([(keys, "benchmark")])
    build_device(cfg)
    log = RunLog(folder)
    log.open()
    log.start_board(0)
    trainer = Trainer(cfg, build_annotations(cfg, training=True), log=log)
    trainer.progress.start(0)
    return trainer


def measure(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds and CPU-seconds of all threads that a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def median_seconds(work: Callable[[], None]) -> float:
    """Median over REPEATS calls, after one that is not timed."""
    work()
    return statistics.median(measure(work)[0] for _ in range(REPEATS))


def make_bare_update(optimizer):
    """A cell that updates with the gradients as they are, and does nothing else."""
    from mindspore import nn, ops

    class BareUpdate(nn.Cell):
        """The optimizer, with the gradients as they are."""

        def __init__(self, optimizer):
            super().__init__(auto_prefix=False)
            self.optimizer = optimizer

        def construct(self, lr, *gradients):
            return ops.depend(lr * 1, self.optimizer(gradients, lr))

    return BareUpdate(optimizer)


def overhead(image_size: int, batch_size: int, steps: int) -> dict:
    """Seconds that a whole step adds to a bare one: part by part, and both as a whole in turn."""
    import mindspore as ms

    from src.runtime.stopwatch import HOOKS

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(Path(folder), image_size, batch_size, profile=True)
        step = trainer.train_step
        batch = next(trainer.loader.epoch(0))
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
            trainer._step(1, [batch])

        bare()
        whole()
        trainer.progress.restart()
        whole()
        pairs = [(measure(bare), measure(whole)) for _ in range(steps)]
        found = gradients()
        norm = median_seconds(lambda: step.readout(one.reshape(1), *found).asnumpy())
        full = median_seconds(lambda: step.update(none, one, one, *found).asnumpy())
        plain = median_seconds(lambda: bare_update(none, *found).asnumpy())
        hooks = trainer.progress.session.parts[HOOKS] / trainer.progress.session.updates
        trainer.loader.close()
    bare_seconds = statistics.median(b[0] for b, _ in pairs)
    return {
        "image_size": image_size,
        "batch_size": batch_size,
        "bare_step_seconds": round(bare_seconds, 3),
        "norm_seconds": round(norm, 4),
        "scaling_averages_and_backup_seconds": round(full - plain, 4),
        "hooks_seconds": round(hooks, 4),
        "overhead": round((norm + full - plain + hooks) / bare_seconds, 4),
        "overhead_of_whole_steps": ratio(pairs, 0),
        "overhead_of_whole_steps_in_cpu_seconds": ratio(pairs, 1),
    }


def ratio(pairs: list, column: int) -> float:
    """What the second of each pair takes beyond the first, as a share; median of all pairs."""
    return round(statistics.median(w[column] / b[column] for b, w in pairs) - 1, 4)


def memory(image_size: int, batch_size: int, steps: int) -> dict:
    """Resident memory after a tenth of the steps and after all of them."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(Path(folder), image_size, batch_size)
        resident = {}
        while trainer.step < steps:
            for _ in trainer.steps(min(trainer.epoch_end(), steps)):
                resident[trainer.step] = resident_bytes()
        trainer.loader.close()
    early, late = resident[steps // 10], resident[steps]
    return {
        "image_size": image_size,
        "batch_size": batch_size,
        "steps": steps,
        "early_gb": round(early / GIGA, 3),
        "late_gb": round(late / GIGA, 3),
        "growth_mb_per_100_steps": round((late - early) / 1e6 / (steps - steps // 10) * 100, 2),
    }


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    import psutil

    return psutil.Process().memory_info().rss


def save(image_size: int, batch_size: int) -> dict:
    """Seconds that saving holds up the loop, for the weights alone and for all that is saved."""
    with tempfile.TemporaryDirectory(dir=".") as folder:  # on the disk that runs are on
        trainer = make_trainer(Path(folder), image_size, batch_size)
        checkpoints, state = trainer.checkpoints, trainer.contents()[1]
        weights = {p.name: p for p in trainer.network.get_parameters()}
        seconds = {
            "weights": median_seconds(lambda: checkpoints.save(checkpoints.best, weights, state)),
            "all": median_seconds(
                lambda: checkpoints.save(checkpoints.last, trainer.train_step.parameters(), state)
            ),
        }
        sizes = {"weights": checkpoints.best, "all": checkpoints.last}
        megabytes = {name: path.stat().st_size / 1e6 for name, path in sizes.items()}
        trainer.loader.close()
    return {
        name: {"megabytes": round(megabytes[name], 1), "seconds": round(seconds[name], 3)}
        for name in sizes
    }
