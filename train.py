"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists every key."""

from functools import partial
from pathlib import Path

from src.command import run_command
from src.interruption import Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config import parse_args
    from src.data.dataset import build_annotations, find_source
    from src.data.loader import steps_per_epoch
    from src.files import check_file, make_output_folder
    from src.training.run_folder import lock

    cfg = parse_args(__doc__, argv)
    # everything that can be wrong is looked at before MindSpore's import costs seconds, and what is
    # quick to look at before a large annotation file is read
    for key in ("resume_from", "finetune" if cfg.finetune else "pretrained"):
        check_file(cfg, key)
    roles = [True, False] if cfg.eval_interval else [True]
    for training in roles:
        find_source(cfg, training=training)
    folder = make_output_folder(cfg.output_path)
    if cfg.profile:
        folder = make_output_folder(str(folder / "profile"))
    locked = lock(folder)
    annotations, *validation = [build_annotations(cfg, training=training) for training in roles]
    steps_per_epoch(annotations, cfg.batch_size * cfg.accumulate)  # raises where there is not one
    train(cfg, annotations, validation[0] if validation else None, folder, interruption)
    if locked:
        locked.close()


def train(cfg, annotations, val_annotations, folder: Path, interruption: Interruption) -> None:
    """Trains, with a log in `folder`, and says where the result lies."""
    from src.data.summary import build_summary
    from src.detection.anchors import build_anchors
    from src.device import build_device
    from src.files import to_json, write_atomically
    from src.training.checkpoint import find_run
    from src.training.environment import environment, summary
    from src.training.profile import profile
    from src.training.run_folder import follow_move, set_aside
    from src.training.run_log import RunLog
    from src.training.trainer import Trainer

    build_device(cfg)
    saved = find_run(folder / "ckpt", cfg.resume_from) if cfg.resume else None
    if saved:
        saved.check_config(cfg)
    elif aside := set_aside(folder):
        print(f"an earlier run in {folder} was moved to {aside}")
        cfg = cfg.replace(
            **{key: follow_move(cfg[key], folder, aside) for key in ("finetune", "pretrained")}
        )
    facts = environment(cfg.device_target)
    write_atomically(folder / "config.yaml", cfg.to_yaml())
    log = RunLog(folder)
    log.line(summary(facts))
    log.line(annotations.summary())
    log.line(build_summary(cfg, annotations, build_anchors(cfg)).match_line())
    if val_annotations is not None:
        log.line(val_annotations.summary())
    trainer = Trainer(cfg, annotations, val_annotations, log, interruption=interruption)
    if saved:
        trainer.resume(saved)
        log.rewind(trainer.step, trainer.evaluated_step)
        log.line(f"resumed from {saved.path} (step {trainer.step} of {trainer.total_steps})")
    write_atomically(folder / "run.json", to_json(facts))
    trainer.compile()
    log.start_board(trainer.step)
    if cfg.profile:
        log.line(profile(trainer))
        return
    best = trainer.run()
    log.line(trainer.progress.waits_for())
    if best is None:
        log.line(f"done, not evaluated: {trainer.checkpoints.last}")
    else:
        log.line(
            f"done, best AP {best['AP']:.3f} (epoch {best['epoch']}): {trainer.checkpoints.best}"
        )
    log.close()


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
