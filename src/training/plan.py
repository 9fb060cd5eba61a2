"""The length of a run."""

from dataclasses import dataclass

from src.config.configuration import Config


@dataclass(frozen=True)
class Plan:
    """The length of a run, in updates ("steps").

    Attributes:
        stop_at: number of the update after which it ends, at most `total_steps`.
        images_per_step: of all batches and ranks.
        accumulate: batches per rank and update.
        save_interval: epochs between two kept checkpoints.
    """

    epochs: int
    steps_per_epoch: int
    stop_at: int
    images_per_step: int
    accumulate: int = 1
    save_interval: int = 1

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, of update number `step`, from 1; 0 for step 0."""
        return -(-step // self.steps_per_epoch)

    def is_kept(self, epoch: int, step: int) -> bool:
        """Whether to keep a checkpoint of `epoch` at update `step`."""
        if epoch == 0 or step != epoch * self.steps_per_epoch:
            return False
        return epoch % self.save_interval == 0 or step == self.total_steps


def build_plan(cfg: Config, steps_per_epoch: int, ranks: int) -> Plan:
    """The length of the configured run."""
    total_steps = cfg.epoch_size * steps_per_epoch
    return Plan(
        epochs=cfg.epoch_size,
        steps_per_epoch=steps_per_epoch,
        stop_at=min(cfg.max_steps or total_steps, total_steps),
        images_per_step=cfg.batch_size * cfg.accumulate * ranks,
        accumulate=cfg.accumulate,
        save_interval=cfg.save_interval,
    )
