"""The training loop: for each epoch, for each update."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from src.data.loader import TrainBatch, TrainLoader
from src.distributed.ranks import Ranks
from src.models.card_fit import advice_after
from src.models.ssd import SSD
from src.runtime.out_of_memory import with_memory_advice
from src.runtime.signals import Interrupted, Interruption
from src.runtime.stopwatch import DATA, HOOKS, Stopwatch
from src.runtime.text import count
from src.training.agreement import Agreement, check_same
from src.training.callbacks.callback_list import CallbackList, followed
from src.training.callbacks.moments import Checkpoint, End, Moment, Start
from src.training.checkpoints import Checkpoints
from src.training.evaluator import Evaluator
from src.training.guard import Guard
from src.training.plan import Plan
from src.training.progress import Progress
from src.training.rescue import rescued
from src.training.run_log import RunLog
from src.training.schedule import Schedule
from src.training.step import TrainStep


@dataclass
class Trainer:
    """Trains a detector on one split and evaluates it on another; see `setup.build_trainer`.

    Attributes:
        schedule: learning rate of each update.
        evaluator: of the network or, if there are any, the averages of its weights.
        identity: seed and training data, by which a checkpoint's run is recognised.
        step: updates of the run so far, skipped ones included.
        ended_epochs: epochs after which the run was evaluated and saved, if due.
        ended_early: why the run ends before its last update, in this session.
        room: bytes that were free on the card at the start; None on CPU or if not known.
    """

    network: SSD
    train_step: TrainStep
    loader: TrainLoader
    schedule: Schedule
    plan: Plan
    evaluator: Evaluator
    checkpoints: Checkpoints
    agreement: Agreement
    guard: Guard
    progress: Progress
    log: RunLog
    clock: Stopwatch
    ranks: Ranks
    interruption: Interruption
    identity: dict
    callbacks: CallbackList
    step: int = 0
    ended_epochs: int = 0
    ended_early: str = ""
    room: int | None = None

    def run(self) -> dict | None:
        """Trains to the end; returns the best evaluation ("AP", "epoch", "step"), if any.

        Raises:
            Interrupted: after a checkpoint was saved.
            RunError: updates or checkpoints fail, or memory is too small.
        """
        self.progress.start(self.step)
        with followed(self), rescued(self), with_memory_advice(self.memory_advice):
            self.end_epoch()  # a resumed run may have been stopped just before
            while self.step < self.plan.stop_at and self.may_continue():
                with closing(self.updates()) as updates:
                    for batches in updates:
                        self.update(batches)
                        if self.agreement.signum:
                            raise Interrupted(self.agreement.signum)
                        if self.agreement.is_save_due:
                            self.save()
                        if self.step >= self.plan.stop_at:  # a callback may have lowered it
                            break
                self.end_epoch()
        return self.evaluator.best if self.evaluator.is_on else None

    def updates(self) -> Iterator[list[TrainBatch]]:
        """The batches of each update, to the end of the current epoch or of the run."""
        plan = self.plan
        epoch, done = divmod(self.step, plan.steps_per_epoch)
        stop = min(plan.stop_at - epoch * plan.steps_per_epoch, plan.steps_per_epoch)
        first, stop = done * plan.accumulate, stop * plan.accumulate
        self.network.set_train(True)
        with closing(self.loader.epoch(epoch, first=first, stop=stop)) as batches:
            while True:
                with self.clock(DATA):
                    update = list(islice(batches, plan.accumulate))
                if not update:
                    return
                self.ranks.heartbeat("update")
                for batch in update:
                    self.agreement.unread += batch.unread
                yield update

    def update(self, batches: Sequence[TrainBatch], *, is_saved: bool = True) -> None:
        """Makes, counts, checks and logs an update, and exchanges news with the other ranks."""
        lr = self.schedule(self.step)
        report = self.train_step(batches, lr, self.agreement.has_news)
        self.interruption.deferred = is_saved  # from here on, before the log shows the update
        self.step += 1
        self.agreement.unreadable.met += self.plan.images_per_step
        epoch = self.plan.epoch_of(self.step)
        with self.clock(HOOKS):
            if report.news:
                self.agreement.exchange()
            ids = np.concatenate([batch.image_ids for batch in batches]).tolist()
            if not report.updated:  # any rank's image may be the reason
                ids = [image_id for own in self.ranks.gather(ids) for image_id in own]
            self.guard.check(report, ids, epoch=epoch, step=self.step)
        line = self.progress.update(
            epoch=epoch,
            step=self.step,
            lr=lr,
            report=report,
            clock=self.clock,
            evaluations_left=self.evaluator.left(epoch, self.plan.epoch_of(self.plan.stop_at)),
        )
        if line:
            with self.clock(HOOKS):
                self.tell(line)

    def end_epoch(self) -> None:
        """Evaluates and saves if an epoch or the run has ended and this was not done yet."""
        plan = self.plan
        epoch, rest = divmod(self.step, plan.steps_per_epoch)
        if not rest and epoch > self.ended_epochs:
            check_same(self.ranks, self.train_step.parameters())
            self.ranks.sync_pace()
            reports = self.ranks.gather(self.progress.report())
            if due := self.evaluator.is_due(epoch, last=self.step == plan.total_steps):
                self.evaluate(epoch)
            self.progress.end_epoch(epoch, self.step, self.guard.skipped, reports)
            self.ended_epochs = epoch
            kept = plan.is_kept(epoch, self.step)
            if (due or kept) and self.save() and kept:
                self.checkpoints.keep_epoch(epoch)
                if self.checkpoints.keep:
                    self.tell(Checkpoint(self.checkpoints.of_epoch(epoch), epoch, self.step))
        if self.step == self.plan.stop_at < plan.total_steps:  # by max_steps or a callback
            if self.evaluator.is_on and self.evaluator.evaluated_step < self.step:
                self.evaluate(epoch + bool(rest), is_regular=False)
            self.save()

    def evaluate(self, epoch: int, *, is_regular: bool = True) -> None:
        """Evaluates, and saves the weights if they are the best so far; see Evaluator."""
        self.save()  # evaluation takes long, and may be interrupted
        network = self.evaluator.network.set_train(False)
        started = time.perf_counter()
        check = self.interruption.check
        evaluation = self.evaluator(epoch, self.step, check, is_regular=is_regular)
        if evaluation.is_best:
            position = {"epoch": epoch, "step": self.step}
            position["steps_per_epoch"] = self.plan.steps_per_epoch
            self.checkpoints.save_best(network, {**position, "best": self.evaluator.best})
        self.progress.evaluated(time.perf_counter() - started)
        self.tell(evaluation)
        if evaluation.is_best:
            self.tell(Checkpoint(self.checkpoints.best, epoch, self.step))

    def may_continue(self) -> bool:
        """Whether the run has patience left; logs if not."""
        if self.evaluator.is_patient():
            return True
        self.ended_early = f"no better AP in {count(self.evaluator.stale, 'evaluation')}"
        self.log.line(f"{self.ended_early}: the run ends early")
        return False

    def tell(self, moment: Moment, *, alone: bool = False) -> None:
        """Tells the callbacks; the run ends after this update if one wants it.

        With `alone` other ranks may be gone; otherwise all ranks call it.
        """
        reason = self.callbacks.tell(moment, alone=alone)
        if reason and self.step < self.plan.stop_at:
            self.ended_early = reason
            self.plan = replace(self.plan, stop_at=self.step)
            self.log.line(f"{reason}: the run ends early")

    def save(self, *, alone: bool = False) -> bool:
        """Saves the run, unless its last updates were bad; returns whether it did.

        With `alone` other ranks may be gone; otherwise all call it, and the main one saves.
        """
        if self.guard.bad_in_a_row or (alone and not self.ranks.is_main):
            return False
        self.checkpoints.save(self.train_step.parameters(), self.state(), alone=alone)
        self.agreement.saved()
        epoch = self.plan.epoch_of(self.step)
        self.tell(Checkpoint(self.checkpoints.last, epoch, self.step), alone=alone)
        return True

    def memory_advice(self) -> str:
        """What to change where an update takes more memory than there is."""
        text = advice_after(self.evaluator.cfg, self.network, self.room)
        last = self.checkpoints.last
        return f"{text}; the last checkpoint is {last}" if self.step and last.is_file() else text

    def start(self) -> Start:
        """What callbacks are told when the run starts or continues."""
        cfg = self.evaluator.cfg
        return Start(self.log.folder, cfg, step=self.step, total_steps=self.plan.total_steps)

    def end(self, status: str, reason: str) -> End:
        """What callbacks are told when the run ends."""
        best = self.evaluator.best
        return End(
            status=status,
            reason=reason,
            step=self.step,
            epoch=self.plan.epoch_of(self.step),
            best=best,
            best_path=self.checkpoints.best if best else None,
        )

    def state(self) -> dict:
        """What a resumed run needs besides the parameters, serialisable as JSON."""
        return {
            "epoch": self.plan.epoch_of(self.step),
            "step": self.step,
            "updates": self.train_step.updates,
            "steps_per_epoch": self.plan.steps_per_epoch,
            "images_per_step": self.plan.images_per_step,
            "ended_epochs": self.ended_epochs,
            **self.identity,
            **{name: part.state() for name, part in self.parts().items()},
        }

    def parts(self) -> dict:
        """Parts with a state, by their names in a checkpoint."""
        return {
            "loss_scale": self.train_step.loss_scale,
            "guard": self.guard,
            "progress": self.progress,
            "evaluator": self.evaluator,
        }

    def outcome(self) -> list[str]:
        """How the run ended, in lines for the log."""
        plan, best, lines = self.plan, self.evaluator.best, []
        if bottleneck := self.progress.bottleneck():
            lines.append(bottleneck)
        if bad := self.guard.bad_in_a_row:
            lines.append(f"the last {bad} updates were skipped, so nothing was saved after them")
        if plan.stop_at <= self.step < plan.total_steps:
            by, again = self.ended_early, "--resume=True"
            if not by:
                by, again = "max_steps", "--resume=True --max_steps=0"
            where = f"after step {self.step} of {plan.total_steps}"
            lines.append(f"stopped by {by} {where}; continue with {again}")
        ending = "done"
        if self.guard.skipped >= self.step > 0:
            ending = f"done, but nothing was learnt: all {count(self.step, 'update')} were skipped"
        if best is None or not self.evaluator.is_on:
            lines.append(f"{ending}, not evaluated: {self.checkpoints.last}")
        else:
            best_path, epoch = self.checkpoints.best, best["epoch"]
            ap = f"best AP {best['AP']:.3f}" if best["AP"] >= 0 else "no AP"
            lines.append(f"{ending}, {ap} (epoch {epoch}): {best_path}")
        return lines
