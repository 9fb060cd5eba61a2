"""The training loop."""

import math
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Optional

import numpy as np

from src.config import Config
from src.data.annotations import Annotations
from src.data.loader import TrainBatch, build_loader
from src.data.problems import Unreadable, count
from src.detection.anchors import build_anchors
from src.errors import InputError, WorkerDied
from src.interruption import Interrupted, Interruption
from src.models.ssd import build_ssd
from src.parallel import RankLost, Ranks
from src.training.agreement import Agreement, check_same
from src.training.build import build_network, build_step, of_the_run
from src.training.checkpoint import Checkpoints
from src.training.compiling import compile_graphs
from src.training.evaluator import Evaluator
from src.training.guard import Guard
from src.training.progress import Progress
from src.training.resume import SavedRun, best_on_disk, renumbered
from src.training.run_folder import new_aside
from src.training.run_log import RunLog
from src.training.schedule import build_schedule
from src.training.stopwatch import DATA, HOOKS, Stopwatch
from src.weights import EMA_PREFIX

MINUTE = 60.0
SIGNAL_DELAY = 1.0  # seconds by which a signal may reach this process later than its workers


class Trainer:
    """Trains the detector of a configuration on a split and evaluates it on another.

    Args:
        cfg: the configuration.
        annotations: the training split.
        val_annotations: the split to evaluate on; None never evaluates.
        log: of the run.
        saved: the checkpoint to go on from, which must fit the configuration.
        interruption: says when to stop early.
        ranks: that train together; by default this process alone.

    Raises:
        InputError: fewer images than an update takes, unusable weights, or other annotations than
            those of the run to go on with.
    """

    def __init__(
        self,
        cfg: Config,
        annotations: Annotations,
        val_annotations: Optional[Annotations] = None,
        *,
        log: RunLog,
        saved: Optional[SavedRun] = None,
        interruption: Optional[Interruption] = None,
        ranks: Optional[Ranks] = None,
    ):
        self.cfg = cfg
        self.log = log
        self.interruption = interruption or Interruption()
        self.ranks = ranks or Ranks()
        self.clock = Stopwatch(precise=cfg.profile)
        generator = build_anchors(cfg)
        start = saved is None and self.ranks.is_main
        self.network = build_network(cfg, generator.boxes_per_cell, log, start=start)
        self.averaged = build_ssd(cfg, generator.boxes_per_cell) if cfg.ema_decay else None
        self.train_step = build_step(
            cfg,
            self.network,
            generator.boxes(cfg.image_size),
            averaged=self.averaged,
            clock=self.clock,
            ranks=self.ranks,
        )
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
        self.step = 0  # of the run, skipped ones included
        self.ended_epochs = 0  # that were evaluated and saved as the configuration asks
        if saved:
            self._resume(saved)
        self.train_step.synchronise()

    def describe(self) -> str:
        """The images of an update and its rate, and how the ranks talk."""
        cfg, ranks = self.cfg, self.ranks
        text = f"{count(self.images_per_step, 'image')} an update"
        if ranks.size > 1:
            text += f" over {ranks.size} ranks ({ranks.describe()})"
        rate = self.schedule
        text += f", lr {rate.base_lr:.4g} after {count(rate.warmup_steps, 'update')} of warm-up"
        if cfg.auto_scale_lr:
            text += f" (lr {cfg.lr:g} is scaled: it is meant for {cfg.lr_batch_size} images)"
        return text

    @property
    def evaluated_network(self):
        """The averages where there are any, else the network itself."""
        return self.network if self.averaged is None else self.averaged

    def _resume(self, saved: SavedRun) -> None:
        """Takes up a run where its checkpoint was made."""
        state = saved.state
        if state["data"] != self.data:
            raise InputError(
                f"{saved.path}: the run was trained on other annotations: the training split has "
                "changed since; start another run with --finetune"
            )
        if self.ranks.is_main:
            self.train_step.load(saved.arrays, updates=state["updates"])
        self.step = self._renumbered(state["step"], state)
        self.ended_epochs = state["ended_epochs"]
        for name, part in self._parts().items():
            part.load(state[name])
        self.evaluator.renumber(lambda step: self._renumbered(step, state))

    def _renumbered(self, step: int, state: dict) -> int:
        """Number, with these ranks, of an update of the session that saved the state."""
        return renumbered(step, state["steps_per_epoch"], self.steps_per_epoch)

    def _parts(self) -> dict:
        """What has a state of its own, by its name in a checkpoint."""
        return {
            "loss_scale": self.train_step.loss_scale,
            "guard": self.guard,
            "progress": self.progress,
            "evaluator": self.evaluator,
        }

    def go_back(self, saved: SavedRun) -> None:
        """Leaves in the run's folder only what comes before the checkpoint it resumes from."""
        state = saved.state
        evaluated = state["evaluator"]["evaluated_step"]
        epochs, rest = divmod(evaluated, state["steps_per_epoch"])
        limits = {
            "evaluation": (epochs + 1, evaluated) if rest else (epochs, math.inf),
            "epoch": (self.ended_epochs, math.inf),
        }
        self.log.rewind(limits, (state["epoch"], state["step"]))
        self.log.line(f"resumed from {saved.path} (step {self.step} of {self.total_steps})")
        if state["images_per_step"] != self.images_per_step:
            self.log.line(
                f"an update has {self.images_per_step} images now and had "
                f"{state['images_per_step']}, so steps are numbered anew: {state['step']} then is "
                f"{self.step} now"
            )
        if self.ranks.is_main:
            self._go_back_to(saved.path)
        # what best.ckpt holds may be of a later step than the checkpoint
        on_disk = self.ranks.main_does(
            lambda: best_on_disk(self.checkpoints.best, self.steps_per_epoch)
        )
        self.evaluator.take_over(on_disk)

    def _go_back_to(self, path: Path) -> None:
        last = self.checkpoints.last
        if self._is_kept(self.ended_epochs) and last.exists() and path.samefile(last):
            self.checkpoints.keep_epoch(self.ended_epochs)  # it may have been killed before that
        if self.cfg.resume_from:
            aside = new_aside(self.log.folder) / "ckpt"
            self.checkpoints.set_later_aside(path, self.ended_epochs, aside)

    def compile(self) -> None:
        """Compiles all that a run needs, or takes it from the folder of compiled graphs."""
        compile_graphs(
            self.cfg,
            self.train_step,
            self.loader.samples.layout(self.cfg.batch_size),
            self.evaluated_network if self.evaluator.is_on else None,
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
                saved = f"; saved {self.checkpoints.last}" if self.step and self._rescue() else ""
                raise type(death)(f"{death}{saved}") from None
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
                self.interruption.deferred = True  # there is something to lose now
                if self.agreement.signum:
                    raise Interrupted(self.agreement.signum)
                if self.agreement.is_save_due:
                    self._save()

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
        self.ranks.alive()
        for batch in batches:
            self.agreement.unread += batch.unread
        lr = self.schedule(self.step)
        report = self.train_step(batches, lr, self.agreement.has_news)
        self.step += 1
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
            self._save()

    def _close_epoch(self, epoch: int) -> None:
        check_same(self.ranks, self.train_step.parameters())
        last = self.step == self.total_steps
        due = self.evaluator.is_due(epoch, last=last)
        if due:
            self._evaluate(epoch)
        self.progress.end_epoch(epoch, self.step, self.guard.skipped)
        self.ended_epochs = epoch
        kept = self._is_kept(epoch)
        if (due or kept) and self._save() and kept:
            self.ranks.main_does(lambda: self.checkpoints.keep_epoch(epoch))

    def _is_kept(self, epoch: int) -> bool:
        """Whether the run keeps a checkpoint of an epoch, from 1, that has just ended."""
        if epoch == 0 or self.step != epoch * self.steps_per_epoch:
            return False
        return epoch % self.cfg.save_interval == 0 or self.step == self.total_steps

    def _evaluate(self, epoch: int, *, is_regular: bool = True) -> None:
        self._save()  # evaluation takes long, and may be interrupted
        self.evaluated_network.set_train(False)
        started = time.perf_counter()
        if self.evaluator(epoch, self.step, self.interruption.check, is_regular=is_regular):
            self.ranks.main_does(lambda: self._write_best(epoch))
        self.progress.evaluated(time.perf_counter() - started)

    def _write_best(self, epoch: int) -> None:
        weights = {
            p.name.removeprefix(EMA_PREFIX): p for p in self.evaluated_network.get_parameters()
        }
        state = {
            "epoch": epoch,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "best": self.evaluator.best,
        }
        self.checkpoints.save(self.checkpoints.best, weights, state)

    def _may_go_on(self) -> bool:
        if self.evaluator.is_patient():
            return True
        evaluations = count(self.evaluator.stale, "evaluation")
        self.log.line(f"no better AP in {evaluations}: the run ends early")
        return False

    def state(self) -> dict:
        """All that a run needs to go on, besides `train_step.parameters()`."""
        return {
            "epoch": -(-self.step // self.steps_per_epoch),
            "step": self.step,
            "updates": self.train_step.updates,
            "steps_per_epoch": self.steps_per_epoch,
            "images_per_step": self.images_per_step,
            "ended_epochs": self.ended_epochs,
            "seed": self.cfg.seed,
            "data": self.data,
            **{name: part.state() for name, part in self._parts().items()},
        }

    def _save(self) -> bool:
        """Saves the run, unless its weights are in doubt; whether it did. All ranks take part."""
        if self.guard.bad_in_a_row:
            return False
        self.ranks.main_does(self._write_last)
        self.agreement.saved()
        return True

    def _rescue(self) -> bool:
        """`_save` of a rank that may be the only one left."""
        if self.guard.bad_in_a_row or not self.ranks.is_main:
            return False
        self._write_last()
        return True

    def _write_last(self) -> None:
        parameters, state = self.train_step.parameters(), self.state()
        self.checkpoints.save(self.checkpoints.last, parameters, state)

    def _leave(self, interrupted: Interrupted) -> None:
        self.progress.close()
        self.ranks.rest()
        if not self.ranks.is_main:
            return
        if self._rescue():
            self.log.line(
                f"{interrupted}: saved {self.checkpoints.last} (epoch {self.state()['epoch']}, "
                f"step {self.step}); the same command with --resume=True goes on"
            )
        else:
            self.log.line(
                f"{interrupted}: not saved, since the last {self.guard.bad_in_a_row} updates were "
                f"skipped; --resume=True goes on from {self.checkpoints.last}, or from the "
                "beginning if that is not there"
            )
