"""From a configuration to a run that is ready to go."""

from typing import Optional

from src.config.configuration import Config
from src.config.open_keys import contradictions, settled, treatment
from src.data.annotations import Annotations
from src.data.summary import build_summary
from src.detection.anchors import build_anchors
from src.distributed.ranks import Ranks
from src.models.card_memory import memory_warning
from src.runtime.errors import InputError
from src.runtime.files import write_atomically
from src.runtime.signals import Interruption
from src.runtime.text import count
from src.training.agreement import check_alike
from src.training.build import of_the_run
from src.training.continuation import go_back, take_up
from src.training.environment import add_session, environment
from src.training.resume import SavedRun, find_run
from src.training.run_folder import clear, newest_aside, set_aside
from src.training.run_log import RunLog
from src.training.trainer import Trainer
from src.weights.checkpoint_file import read_origin


def prepare(
    cfg: Config, splits: list[Annotations], log: RunLog, ranks: Ranks, interruption: Interruption
) -> Trainer:
    """The trainer, with all that can go wrong behind it; until then the folder stays as it was.

    Args:
        splits: to train on and, if there is one, to evaluate on.
        log: not yet open.
    """
    if ranks.size > 1:
        names = ("the training split", "the evaluation split")
        seen = {name: split.fingerprint() for name, split in zip(names, splits)}
        check_alike(ranks, {**seen, **cfg})
    saved = find_saved(cfg, log, ranks)
    if saved:  # its weights are in the checkpoint, wherever they came from
        cfg = cfg.replace(**{key: saved.config[key] for key in ("pretrained", "finetune")})
    told = ranks.from_main(starting_point(cfg, saved) if ranks.is_main else None)
    cfg = settled(cfg, told)
    if "padding" in told and not saved:
        wanted = treatment(cfg.padding, cfg.image_mean, cfg.image_std)
        log.line(f"{cfg.finetune or cfg.pretrained}: wants {wanted}")
    log.line(splits[0].summary())
    if ranks.is_main:
        log.line(build_summary(cfg, splits[0], build_anchors(cfg)).match_line())
    for split in splits[1:]:
        log.line(split.summary())
    trainer = Trainer(
        cfg, *splits, log=log, is_new=saved is None, interruption=interruption, ranks=ranks
    )
    if saved:
        take_up(trainer, saved)
    log.line(describe(trainer))
    if warning := memory_warning(cfg, build_anchors(cfg).anchors_per_cell):
        log.line(warning)
    trainer.compile()
    ranks.main_does(lambda: take_folder(cfg, log, ranks.size, is_new=saved is None))
    if not ranks.is_main:
        log.open()
    if saved:
        go_back(trainer, saved)
    log.start_board(trainer.step)
    return trainer


def starting_point(cfg: Config, saved: Optional[SavedRun]) -> dict:
    """What the weights that the run starts from tell of how they were trained.

    Raises:
        InputError: they are of another backbone, or contradict the configuration.
    """
    if saved:
        return saved.config
    source = cfg.finetune or cfg.pretrained
    if not source:
        return {}
    told = read_origin(source)
    wrong = contradictions(cfg, told)
    if told.get("backbone", cfg.backbone) != cfg.backbone:
        wrong.append(f"backbone: {told['backbone']} for the weights, {cfg.backbone} in the config")
    if wrong:
        advice = "leave these keys out, or set them as the weights were trained"
        raise InputError("\n  ".join([f"{source}: was trained otherwise; {advice}", *wrong]))
    return told


def describe(trainer: Trainer) -> str:
    """The images of an update and its rate, and how the ranks talk."""
    cfg, ranks, schedule = trainer.cfg, trainer.ranks, trainer.schedule
    text = f"{count(trainer.images_per_step, 'image')} an update"
    if ranks.size > 1:
        text += f" over {ranks.size} ranks ({ranks.describe()})"
    warmup = count(schedule.warmup_steps, "update")
    text += f", lr {schedule.base_lr:.4g} after {warmup} of warm-up"
    if cfg.auto_scale_lr:
        text += f" (lr {cfg.lr:g} is scaled: it is meant for {cfg.lr_batch_size} images)"
    return text


def find_saved(cfg: Config, log: RunLog, ranks: Ranks) -> Optional[SavedRun]:
    """The checkpoint to go on from, its arrays on the main rank alone; None to start anew."""
    if not cfg.resume:
        return None
    folder = log.folder
    saved = find_run(folder / "ckpt", cfg, ranks.size) if ranks.is_main else None
    if ranks.is_main and saved is None:
        aside = newest_aside(folder)
        instead = f"; to go on with an earlier one, --output_path={aside}" if aside else ""
        log.line(f"no checkpoint in {folder / 'ckpt'}: the run starts from the beginning{instead}")
    told = ranks.from_main(saved and saved.without_arrays())
    return saved or told


def take_folder(cfg: Config, log: RunLog, ranks: int, *, is_new: bool) -> None:
    """Makes the folder this run's own, and begins to write there."""
    folder = log.folder
    if cfg.profile:
        clear(folder)
    elif is_new and (aside := set_aside(folder)):
        log.line(f"an earlier run in {folder} was moved to {aside}")
    log.open()
    write_atomically(folder / "config.yaml", of_the_run(cfg).to_yaml())
    log.line(add_session(folder / "run.json", environment(cfg.device_target, ranks)))
