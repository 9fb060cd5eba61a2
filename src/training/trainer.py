"""The training loop."""

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Optional

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.loader import TrainBatch, build_loader
from src.data.problems import Unreadable
from src.detection.anchors import build_anchors
from src.distributed.ranks import Ranks
from src.models.ssd import build_ssd
from src.runtime.errors import RankLost, WorkerDied
from src.runtime.signals import Interrupted, Interruption
from src.runtime.stopwatch import DATA, HOOKS, Stopwatch
from src.runtime.text import count
from src.training.agreement import Agreement, check_same
from src.training.build import build_network, build_step, of_the_run
from src.training.checkpoints import Checkpoints
from src.training.compiling import compile_graphs
from src.training.evaluator import Evaluator
from src.training.guard import Guard
from src.training.progress import Progress
from src.training.run_log import RunLog
from src.training.saving import Saver
from src.training.schedule import build_schedule
from src.training.step import TrainStep

MINUTE = 60.0
SIGNAL_DELAY = 1.0  # seconds by which a signal may reach this process later than its workers


class Trainer:
    """Trains the detector of a configuration on a split and evaluates it on another.

    Args:
        cfg: the configuration.
        annotations: the training split.
        val_annotations: the split to evaluate on; None never evaluates.
        log: of the run.
        is_new: whether it starts from the weights of the configuration, not a checkpoint's.
        interruption: says when to stop early.
        ranks: that train together; by default this process alone.

    Raises:
        InputError: fewer images than an update takes, or unusable weights.
    """

    def __init__(
        self,
        cfg: Config,
        annotations: Annotations,
        val_annotations: Optional[Annotations] = None,
        *,
        log: RunLog,
        is_new: bool = True,
        interruption: Optional[Interruption] = None,
        ranks: Optional[Ranks] = None,
    ):
        self.cfg = cfg
        self.log = log
        self.interruption = interruption or Interruption()
        self.ranks = ranks or Ranks()
        self.clock = Stopwatch(precise=cfg.profile)
        self.train_step = self._build_step(start=is_new and self.ranks.is_main)
        self.loader = build_loader(cfg, annotations, rank=self.ranks.rank, ranks=self.ranks.size)
        self.data = annotations.fingerprint()
        self.unreadable = Unreadable(annotations.source, len(annotations))
        self.agreement = Agreement(
            self.ranks, self.interruption, self.unreadable, save_seconds=cfg.save_minutes * MINUTE
        )
        self.images_per_step = cfg.batch_size * cfg.accumulate * self.ranks.size
        self.steps_per_epoch = self.loader.steps_per_epoch // cfg.accumulate
        self.total_steps = cfg.epoch_size * self.steps_per_epoch
        self.stop_at = min(cfg.max_steps or self.total_steps, self.total_steps)
        self.schedule = build_schedule(cfg, self.steps_per_epoch, self.images_per_step)
        self.checkpoints = Checkpoints(
            log.folder / "ckpt", keep=cfg.keep_checkpoints, config=of_the_run(cfg).to_yaml()
        )
        self.evaluator = Evaluator(cfg, val_annotations, self.evaluated_network, log, self.ranks)
        self.guard = Guard(log, max_bad_steps=cfg.max_bad_steps)
        self.progress = Progress(
            log,
            total_steps=self.stop_at,
            images_per_step=self.images_per_step,
            log_interval=cfg.log_interval,
        )
        self.saver = Saver(self.checkpoints, self.ranks, self.agreement, self.guard)
        self.step = 0  # of the run, skipped ones included
        self.ended_epochs = 0  # that were evaluated and saved as the configuration asks

    def _build_step(self, *, start: bool) -> TrainStep:
        """The update, of a network with the weights to `start` from or with random ones."""
        cfg, generator = self.cfg, build_anchors(self.cfg)
        self.network = build_network(cfg, generator.anchors_per_cell, self.log, start=start)
        self.averaged = build_ssd(cfg, generator.anchors_per_cell) if cfg.ema_decay else None
        return build_step(
            cfg,
            self.network,
            generator.boxes(cfg.image_size),
            averaged=self.averaged,
            clock=self.clock,
            ranks=self.ranks,
        )

    @property
    def evaluated_network(self):
        """The averages where there are any, else the network itself."""
        return self.network if self.averaged is None else self.averaged

    def parts(self) -> dict:
        """What has a state of its own, by its name in a checkpoint."""
        return {
            "loss_scale": self.train_step.loss_scale,
            "guard": self.guard,
            "progress": self.progress,
            "evaluator": self.evaluator,
        }

    def compile(self) -> None:
        """Gives all ranks the same weights, and compiles what a run needs, or finds it compiled."""
        self.train_step.synchronise()
        compile_graphs(
            self.cfg,
            self.train_step,
            self.loader.samples.layout(self.cfg.batch_size),
            self.evaluator if self.evaluator.is_on else None,
            self.log,
            self.ranks,
        )

    def run(self) -> Optional[dict]:
        """Trains to the end; returns the best evaluation ("AP", "epoch", "step"), if any.

        Raises:
            Interrupted: after a checkpoint was saved.
            RunError: no updates can be made, or no checkpoints.
        """
        self.progress.start(self.step)
        try:
            self._run()
        except Interrupted as interrupted:
            self._leave(interrupted)
            raise
        except (WorkerDied, RankLost) as death:
            if isinstance(death, RankLost) or not self.interruption.is_asked(SIGNAL_DELAY):
                if self.step and self.saver.rescue(*self.contents()):
                    raise type(death)(f"{death}; saved {self.checkpoints.last}") from None
                raise
            # schedulers signal the workers too, and they end at once
            interrupted = Interrupted(self.interruption.asked)
            self._leave(interrupted)
            raise interrupted from None
        finally:
            self.ranks.rest()
            self.interruption.deferred = False
            self.progress.close()
            self.loader.close()
            if self.unreadable.messages:
                self.log.line(f"replaced by others: {self.unreadable}")
        return self.evaluator.best if self.evaluator.is_on else None

    def _run(self) -> None:
        self._end_epoch()  # what a resumed run may not have come to
        while self.step < self.stop_at and self._may_go_on():
            self._epoch()
            self._end_epoch()

    def steps(self, stop: int) -> Iterator[None]:
        """Makes the updates of the epoch under way up to number `stop`, yielding after each."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        self.network.set_train(True)
        with closing(self._updates(epoch, done, stop - epoch * self.steps_per_epoch)) as updates:
            while True:
                with self.clock(DATA):
                    batches = next(updates, None)
                if batches is None:
                    return
                self._step(epoch + 1, batches)
                yield

    def _epoch(self) -> None:
        """Trains to the end of the epoch under way, or of the run."""
        with closing(self.steps(min(self.epoch_end(), self.stop_at))) as steps:
            for _ in steps:
                if self.agreement.signum:
                    raise Interrupted(self.agreement.signum)
                if self.agreement.is_save_due:
                    self.saver.save(*self.contents())

    @property
    def epoch(self) -> int:
        """The epoch, from 1, of the update made last; 0 of none."""
        return -(-self.step // self.steps_per_epoch)

    def epoch_end(self) -> int:
        """Number of the update that ends the epoch under way."""
        return (self.step // self.steps_per_epoch + 1) * self.steps_per_epoch

    def _updates(self, epoch: int, first: int, stop: int) -> Iterator[list[TrainBatch]]:
        """The batches of each update `first`..stop-1 of an epoch, from 0."""
        size = self.cfg.accumulate
        with closing(self.loader.epoch(epoch, first=first * size, stop=stop * size)) as batches:
            while update := list(islice(batches, size)):
                yield update

    def _step(self, epoch: int, batches: list[TrainBatch]) -> None:
        self.ranks.alive("update")
        for batch in batches:
            self.agreement.unread += batch.unread
        lr = self.schedule(self.step)
        report = self.train_step(batches, lr, self.agreement.has_news)
        self.step += 1
        self.interruption.deferred = not self.cfg.profile  # there is something to lose now
        with self.clock(HOOKS):
            if report.news:
                self.agreement.hear()
            ids = np.concatenate([batch.image_ids for batch in batches]).tolist()
            if not report.updated:  # whichever rank's image it was
                ids = [image_id for own in self.ranks.gather(ids) for image_id in own]
            self.guard.check(report, ids, epoch=epoch, step=self.step)
        self.progress.update(
            epoch=epoch,
            step=self.step,
            lr=lr,
            report=report,
            clock=self.clock,
            evaluations_left=self.evaluator.left(epoch, -(-self.stop_at // self.steps_per_epoch)),
        )

    def _end_epoch(self) -> None:
        """Saves and evaluates where an epoch or the run has ended and this was not done yet."""
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        if not rest and epoch > self.ended_epochs:
            self._close_epoch(epoch)
        if self.step == self.stop_at < self.total_steps:  # by max_steps
            if self.evaluator.is_on and self.evaluator.evaluated_step < self.step:
                self._evaluate(epoch + bool(rest), is_regular=False)
            self.saver.save(*self.contents())

    def _close_epoch(self, epoch: int) -> None:
        check_same(self.ranks, self.train_step.parameters())
        self.ranks.share_pace()
        last = self.step == self.total_steps
        due = self.evaluator.is_due(epoch, last=last)
        if due:
            self._evaluate(epoch)
        self.progress.end_epoch(epoch, self.step, self.guard.skipped)
        self.ended_epochs = epoch
        kept = self.is_kept(epoch)
        if (due or kept) and self.saver.save(*self.contents()) and kept:
            self.saver.keep_epoch(epoch)

    def is_kept(self, epoch: int) -> bool:
        """Whether the run keeps a checkpoint of an epoch, from 1, that has just ended."""
        if epoch == 0 or self.step != epoch * self.steps_per_epoch:
            return False
        return epoch % self.cfg.save_interval == 0 or self.step == self.total_steps

    def _evaluate(self, epoch: int, *, is_regular: bool = True) -> None:
        self.saver.save(*self.contents())  # evaluation takes long, and may be interrupted
        self.evaluated_network.set_train(False)
        started = time.perf_counter()
        if self.evaluator(epoch, self.step, self.interruption.check, is_regular=is_regular):
            position = {"epoch": epoch, "step": self.step, "steps_per_epoch": self.steps_per_epoch}
            state = {**position, "best": self.evaluator.best}
            self.saver.save_best(self.evaluated_network, state)
        self.progress.evaluated(time.perf_counter() - started)

    def _may_go_on(self) -> bool:
        if self.evaluator.is_patient():
            return True
        evaluations = count(self.evaluator.stale, "evaluation")
        self.log.line(f"no better AP in {evaluations}: the run ends early")
        return False

    def contents(self) -> tuple[dict, dict]:
        """All that a run needs to go on: its parameters by name, and the rest of its state."""
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "updates": self.train_step.updates,
            "steps_per_epoch": self.steps_per_epoch,
            "images_per_step": self.images_per_step,
            "ended_epochs": self.ended_epochs,
            "seed": self.cfg.seed,
            "data": self.data,
            **{name: part.state() for name, part in self.parts().items()},
        }
        return self.train_step.parameters(), state

    def _leave(self, interrupted: Interrupted) -> None:
        self.progress.close()
        self.ranks.rest()
        if not self.ranks.is_main:
            return
        if self.saver.rescue(*self.contents()):
            self.log.line(
                f"{interrupted}: saved {self.checkpoints.last} (epoch {self.epoch}, "
                f"step {self.step}); the same command with --resume=True goes on"
            )
        else:
            self.log.line(
                f"{interrupted}: not saved, since the last {self.guard.bad_in_a_row} updates were "
                f"skipped; --resume=True goes on from {self.checkpoints.last}, or from the "
                "beginning if that is not there"
            )
