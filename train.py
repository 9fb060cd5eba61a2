"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists its keys."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from src.distributed.command import run_command
from src.distributed.launch import Launch, check_launch, find_launch
from src.runtime.errors import InputError
from src.runtime.signals import Interruption


def main(argv=None, *, interruption: Interruption) -> None:
    from src.config.command_line import parse_args
    from src.prediction.recorded import training_layer
    from src.training.run_folder import leaving_nothing

    launch = find_launch()
    cfg = parse_args(
        __doc__, argv, program="train", beneath=training_layer, quiet=not launch.is_main
    )
    folder = Path(cfg.output_path) / ("profile" if cfg.profile else "")
    with leaving_nothing(folder) if launch.is_main else nullcontext():
        run_training(cfg, launch, folder, interruption)


def run_training(cfg, launch: Launch, folder: Path, interruption: Interruption) -> None:
    """Checks the input, builds the trainer and runs it, in its folder."""
    data, callbacks, lock = check_input(cfg, launch, folder)
    cfg = data.cfg

    # importing MindSpore takes seconds, so all input is checked before
    from src.distributed.join import build_device
    from src.training.advice import advice_on_outcome
    from src.training.profile import profile
    from src.training.run_log import RunLog
    from src.training.setup import prepare

    ranks = build_device(cfg, launch, interruption)
    with RunLog(folder, ranks.rank) as log:
        for line in data.notes:
            log.line(line)
        trainer = prepare(cfg, data.splits, log, ranks, interruption, callbacks)
        ranks.on_main(lambda: data.write(folder))
        if cfg.profile:
            log.line(profile(trainer))
            return
        trainer.run()
        for line in (*advice_on_outcome(cfg, trainer), *trainer.outcome()):
            log.line(line)
    if lock:
        lock.close()


def check_input(cfg, launch: Launch, folder: Path) -> tuple:
    """Checks launch, files and data sets, quick checks first; locks the folder of the run.

    Returns:
        The run's data with its configuration; the callbacks; the open lock file.
    """
    from src.data.dataset import find_source
    from src.data.loader import steps_per_epoch
    from src.data.run_data import read_run_data
    from src.data.short_side import check_training_resize
    from src.runtime.cards import check_cards
    from src.runtime.files import check_file, make_output_folder
    from src.training.callbacks.loading import load_callbacks
    from src.training.run_folder import lock_folder

    check_launch(launch, cfg)
    check_training_resize(cfg)
    if cfg.centerness:
        raise InputError(
            "centerness is true, which cannot be trained; --finetune of such a detector starts "
            "without it"
        )
    if launch.is_main:  # the other ranks get the weights from it
        check_file(cfg, "resume_from")
        if not cfg.resume:
            check_file(cfg, "finetune" if cfg.finetune else "pretrained")
    roles = [True, False] if cfg.eval_interval and not cfg.profile else [True]
    for training in roles:
        find_source(cfg, training=training)
    check_cards(cfg.device_target)
    callbacks = load_callbacks(cfg.callbacks, is_main=launch.is_main)
    lock = None
    if launch.is_main:
        make_output_folder(str(folder))
        lock = lock_folder(folder)
    data = read_run_data(cfg, roles)
    # raises if there is not one
    steps_per_epoch(
        data.splits[0],
        cfg.batch_size * cfg.accumulate,
        ranks=launch.size,
        repeat_threshold=cfg.repeat_threshold,
    )
    return data, callbacks, lock


if __name__ == "__main__":
    interruption = Interruption()
    run_command(partial(main, interruption=interruption), interruption)
