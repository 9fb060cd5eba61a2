"""Going on with a saved run: the trainer where its checkpoint was, and a folder to match."""

from pathlib import Path

from src.runtime.errors import InputError
from src.training.resume import SavedRun, best_on_disk, renumbered
from src.training.run_folder import new_aside
from src.training.trainer import Trainer


def take_up(trainer: Trainer, saved: SavedRun) -> None:
    """Takes a run up where its checkpoint was made.

    Args:
        trainer: new, and made for a checkpoint.
        saved: fits the configuration; its arrays are needed on the main rank alone.

    Raises:
        InputError: the training split is not the one that the run was trained on.
    """
    state = saved.state
    if state["data"] != trainer.data:
        raise InputError(
            f"{saved.path}: the run was trained on other annotations: the training split has "
            "changed since; start another run with --finetune"
        )
    if trainer.ranks.is_main:
        trainer.train_step.load(saved.arrays, updates=state["updates"])

    def number(step: int) -> int:
        return renumbered(step, state["steps_per_epoch"], trainer.steps_per_epoch)

    trainer.step, trainer.ended_epochs = number(state["step"]), state["ended_epochs"]
    for name, part in trainer.parts().items():
        part.load(state[name])
    trainer.evaluator.renumber(number)


def go_back(trainer: Trainer, saved: SavedRun) -> None:
    """Leaves in the run's folder only what comes before the checkpoint it resumes from."""
    log, state = trainer.log, saved.state
    log.rewind(*saved.places())
    log.line(f"resumed from {saved.path} (step {trainer.step} of {trainer.total_steps})")
    if state["images_per_step"] != trainer.images_per_step:
        log.line(
            f"an update has {trainer.images_per_step} images now and had "
            f"{state['images_per_step']}, so steps are numbered anew: {state['step']} then is "
            f"{trainer.step} now"
        )
    if trainer.ranks.is_main:
        order_checkpoints(trainer, saved.path)
    # what best.ckpt holds may be of a later step than the checkpoint
    best = trainer.checkpoints.best
    on_disk = trainer.ranks.main_does(lambda: best_on_disk(best, trainer.steps_per_epoch))
    trainer.evaluator.take_over(on_disk)


def order_checkpoints(trainer: Trainer, chosen: Path) -> None:
    """Makes the checkpoints those of a run that has come as far as the chosen one."""
    checkpoints, epoch = trainer.checkpoints, trainer.ended_epochs
    last = checkpoints.last
    if trainer.is_kept(epoch) and last.exists() and chosen.samefile(last):
        checkpoints.keep_epoch(epoch)  # it may have been killed before that
    if trainer.cfg.resume_from:
        checkpoints.set_later_aside(chosen, epoch, new_aside(trainer.log.folder) / "ckpt")
