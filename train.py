"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists every key."""

import contextlib
import traceback
from functools import partial
from pathlib import Path

from src.command import run_command
from src.errors import InputError, RunError
from src.interruption import Interrupted, Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config import parse_args
    from src.data.dataset import build_annotations, find_source
    from src.data.loader import steps_per_epoch
    from src.files import check_file, make_output_folder
    from src.training.run_folder import lock

    cfg = parse_args(__doc__, argv)
    # everything that can be wrong is looked at before MindSpore's import costs seconds, and what is
    # quick to look at before a large annotation file is read
    check_file(cfg, "resume_from")
    if not cfg.resume:
        check_file(cfg, "finetune" if cfg.finetune else "pretrained")
    roles = [True, False] if cfg.eval_interval and not cfg.profile else [True]
    for training in roles:
        find_source(cfg, training=training)
    folder = make_output_folder(cfg.output_path)
    if cfg.profile:
        folder = make_output_folder(str(folder / "profile"))
    held = lock(folder)
    splits = [build_annotations(cfg, training=training) for training in roles]
    steps_per_epoch(splits[0], cfg.batch_size * cfg.accumulate)  # raises where there is not one
    train(cfg, splits, folder, interruption)
    if held:
        held.close()


def train(cfg, splits: list, folder: Path, interruption: Interruption) -> None:
    """Trains on the first split, evaluates on the second if there is one; logs in `folder`."""
    from src.device import build_device
    from src.files import write_atomically
    from src.training.build import of_the_run
    from src.training.environment import add_session, environment
    from src.training.resume import find_run
    from src.training.run_folder import clear, start_anew
    from src.training.run_log import RunLog

    build_device(cfg)
    saved = find_run(folder / "ckpt", cfg) if cfg.resume else None
    if saved:  # its weights came from there, wherever that is now
        cfg = cfg.replace(**{key: saved.config[key] for key in ("pretrained", "finetune")})
    elif cfg.profile:
        clear(folder)
    else:
        cfg = start_anew(cfg, folder)
    log = RunLog(folder)
    try:
        write_atomically(folder / "config.yaml", of_the_run(cfg).to_yaml())
        log.line(add_session(folder / "run.json", environment(cfg.device_target)))
        run(cfg, splits, saved, log, interruption)
    except Interrupted:
        raise
    except Exception as error:  # a run that was left alone is asked later why it ended
        known = isinstance(error, (InputError, RunError))
        with contextlib.suppress(OSError):
            log.line(f"error: {error}" if known else traceback.format_exc(), console=False)
        raise
    log.close()


def run(cfg, splits: list, saved, log, interruption: Interruption) -> None:
    """The run itself, or a profile of it; says where the result lies."""
    from src.data.summary import build_summary
    from src.detection.anchors import build_anchors
    from src.training.profile import profile
    from src.training.trainer import Trainer

    annotations, *validation = splits
    log.line(annotations.summary())
    log.line(build_summary(cfg, annotations, build_anchors(cfg)).match_line())
    for split in validation:
        log.line(split.summary())
    val_annotations = validation[0] if validation else None
    trainer = Trainer(
        cfg, annotations, val_annotations, log, saved=saved, interruption=interruption
    )
    if saved:
        trainer.go_back(saved)
    trainer.compile()
    log.start_board(trainer.step)
    if cfg.profile:
        log.line(profile(trainer))
        return
    best = trainer.run()
    if waits_for := trainer.progress.waits_for():
        log.line(waits_for)
    if best is None:
        log.line(f"done, not evaluated: {trainer.checkpoints.last}")
    else:
        where = trainer.checkpoints.best
        log.line(f"done, best AP {best['AP']:.3f} (epoch {best['epoch']}): {where}")


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
