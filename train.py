"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists every key."""

import contextlib
import traceback
from functools import partial
from pathlib import Path

from src.distributed.command import run_command
from src.distributed.launch import Launch, check_launch, find_launch
from src.runtime.errors import InputError, RunError
from src.runtime.signals import Interrupted, Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config.command_line import parse_args
    from src.data.dataset import build_annotations, find_source
    from src.data.loader import steps_per_epoch
    from src.runtime.files import check_file, make_output_folder
    from src.training.run_folder import lock

    cfg = parse_args(__doc__, argv)
    launch = find_launch()
    check_launch(launch, cfg)
    # everything that can be wrong is looked at before MindSpore's import costs seconds, and what is
    # quick to look at before a large annotation file is read
    if launch.is_main:  # the other ranks get the weights from it
        check_file(cfg, "resume_from")
        if not cfg.resume:
            check_file(cfg, "finetune" if cfg.finetune else "pretrained")
    roles = [True, False] if cfg.eval_interval and not cfg.profile else [True]
    for training in roles:
        find_source(cfg, training=training)
    folder, held = Path(cfg.output_path), None
    if cfg.profile:
        folder = folder / "profile"
    if launch.is_main:
        make_output_folder(str(folder))
        held = lock(folder)
    splits = [build_annotations(cfg, training=training) for training in roles]
    # raises where there is not one
    steps_per_epoch(splits[0], cfg.batch_size * cfg.accumulate, ranks=launch.size)
    train(cfg, splits, folder, launch, interruption)
    if held:
        held.close()


def train(cfg, splits: list, folder: Path, launch: Launch, interruption: Interruption) -> None:
    """Trains on the first split, evaluates on the second if there is one; logs in `folder`."""
    from src.training.starting import prepare

    from src.distributed.join import build_device
    from src.training.run_log import RunLog

    ranks = build_device(cfg, launch, interruption)
    log = RunLog(folder, ranks.rank)
    try:
        trainer = prepare(cfg, splits, log, ranks, interruption)
        run(trainer)
    except Interrupted:
        raise
    except Exception as error:  # a run that was left alone is asked later why it ended
        known = isinstance(error, (InputError, RunError))
        with contextlib.suppress(OSError):
            log.line(f"error: {error}" if known else traceback.format_exc(), console=False)
        raise
    log.close()


def run(trainer) -> None:
    """The run itself, or a profile of it; says where the result lies."""
    from src.training.profile import profile

    log, checkpoints = trainer.log, trainer.checkpoints
    if trainer.cfg.profile:
        log.line(profile(trainer))
        return
    best = trainer.run()
    if waits_for := trainer.progress.waits_for():
        log.line(waits_for)
    if trainer.guard.bad_in_a_row:
        skipped = trainer.guard.bad_in_a_row
        log.line(f"the last {skipped} updates were skipped, so nothing was saved after them")
    if trainer.stop_at <= trainer.step < trainer.total_steps:
        log.line(
            f"stopped by max_steps after step {trainer.step} of {trainer.total_steps}; "
            "--resume=True --max_steps=0 goes on"
        )
    if best is None:
        log.line(f"done, not evaluated: {checkpoints.last}")
    else:
        log.line(f"done, best AP {best['AP']:.3f} (epoch {best['epoch']}): {checkpoints.best}")


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
