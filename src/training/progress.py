"""Progress of a run: loss, speed, time left and bottleneck."""

import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

from tqdm import tqdm

from src.runtime.stopwatch import DATA, HOOKS, Stopwatch
from src.training.callbacks.moments import Step
from src.training.rank_reports import (
    GIGA,
    GROWN,
    RankReport,
    describe_memory,
    describe_slowest,
    make_report,
    numbers,
)
from src.training.run_log import RunLog
from src.training.step_report import StepReport

BAR = "{desc}  {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}"  # speed and time left are in desc
DATA_BOUND = 0.2  # if more of the time is spent waiting for data, data is the bottleneck


class Mean:
    """A running mean."""

    def __init__(self, total: float = 0.0, count: int = 0):
        self.total = total
        self.count = count

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    def take(self) -> float | None:
        """Returns the mean, None if there is none, and resets it."""
        mean = self.total / self.count if self.count else None
        self.total, self.count = 0.0, 0
        return mean


class Pace:
    """Number of updates, and their seconds by part."""

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        self.updates = 0
        self.parts: dict[str, float] = defaultdict(float)

    def add(self, parts: dict[str, float]) -> None:
        self.updates += 1
        for part, seconds in parts.items():
            self.parts[part] += seconds

    def per_second(self) -> float:
        """Updates per second; 0 if none."""
        seconds = sum(self.parts.values())
        return self.updates / seconds if seconds else 0.0

    def data_share(self) -> float:
        """Share of the time spent waiting for data; 0 if none."""
        return self.parts[DATA] / (sum(self.parts.values()) or 1.0)


class Progress:
    """Loss, images/s and time left: a bar on a terminal, plain lines elsewhere.

    Images/s excludes evaluations, checkpoints and the slower first update of a session. The time
    left includes evaluations.

    Args:
        total_steps: updates of the whole run.
        images_per_step: of all batches and ranks.
        log_interval: updates between two lines.
        memory: returns this process's peak memory in bytes, see `peak_memory`.
    """

    def __init__(
        self,
        log: RunLog,
        *,
        total_steps: int,
        images_per_step: int,
        log_interval: int,
        memory: Callable[[], int] = int,
    ):
        self.log = log
        self.total_steps = total_steps
        self.images_per_step = images_per_step
        self.log_interval = log_interval
        self.memory = memory
        self.told_memory = 0  # bytes of the last line about it
        # a terminal of unknown width would get an empty bar
        self.on_terminal = sys.stderr.isatty() and shutil.get_terminal_size((0, 0)).columns > 0
        self.bar: tqdm | None = None
        self.is_first = True  # whether the next update is the session's first
        self.session, self.epoch, self.interval = Pace(), Pace(), Pace()
        self.evaluation_seconds = Mean()
        self.interval_loss, self.epoch_loss = Mean(), Mean()
        self.interval_terms: dict[str, Mean] = defaultdict(Mean)  # parts of the loss, by name

    def start(self, done: int) -> None:
        """Shows the bar, at `done` updates of earlier sessions."""
        self.bar = tqdm(
            total=self.total_steps, initial=done, bar_format=BAR, disable=not self.on_terminal
        )

    def restart(self) -> None:
        """Resets the times."""
        for pace in (self.session, self.epoch, self.interval):
            pace.restart()

    def state(self) -> dict:
        """Sums of the current interval and epoch, for a checkpoint; `load` restores them."""
        return {
            "interval_loss": vars(self.interval_loss),
            "epoch_loss": vars(self.epoch_loss),
            "interval_terms": {name: vars(mean) for name, mean in self.interval_terms.items()},
        }

    def load(self, state: dict) -> None:
        self.interval_loss = Mean(**state["interval_loss"])
        self.epoch_loss = Mean(**state["epoch_loss"])
        for name, values in state.get("interval_terms", {}).items():  # older runs have none
            self.interval_terms[name] = Mean(**values)

    def update(
        self,
        *,
        epoch: int,
        step: int,
        lr: float,
        report: StepReport,
        clock: Stopwatch,
        evaluations_left: int = 0,
    ) -> Step | None:
        """Counts an update and shows the progress; when due, logs a line and returns it.

        `epoch` and `step` are from 1; `clock` has the seconds since the last call, by part.
        """
        parts = clock.lap()
        with clock(HOOKS):
            self._count(parts, report)
            left = self._seconds_left(step, evaluations_left)
            speed = self._describe(self.session, left)
            self.bar.set_description_str(f"epoch {epoch}  loss {report.loss:.3f}{speed}", False)
            self.bar.update()
            if step % self.log_interval and step != self.total_steps:
                return None
            line = self._log(epoch, step, lr, report, left)
            self.interval.restart()
            return line

    def _count(self, parts: dict[str, float], report: StepReport) -> None:
        if self.is_first:
            self.is_first = False
            self.log.line(f"made the first update in {sum(parts.values()):.1f} s")
        else:
            for pace in (self.session, self.epoch, self.interval):
                pace.add(parts)
        if report.updated:
            self.interval_loss.add(report.loss)
            self.epoch_loss.add(report.loss)
            for name, value in report.terms.items():
                self.interval_terms[name].add(value)

    def _describe(self, pace: Pace, seconds_left: float) -> str:
        """Speed and time left as text; "" if no update was timed yet."""
        if not pace.updates:
            return ""
        return (
            f"  {pace.per_second() * self.images_per_step:.1f} images/s  "
            f"data wait {pace.data_share():.0%}  {clock(seconds_left)} left"
        )

    def _measured(self, pace: Pace) -> dict[str, float | None]:
        """Speed for a record; None if no update was timed."""
        if not pace.updates:
            return {"images_per_second": None, "data_share": None}
        return {
            "images_per_second": round(pace.per_second() * self.images_per_step, 2),
            "data_share": round(pace.data_share(), 4),
        }

    def bottleneck(self) -> str:
        """The bottleneck in a sentence; "" if no update was timed."""
        if not self.session.updates:
            return ""
        share = self.session.data_share()
        if share > DATA_BOUND:
            return (
                f"data loading is the bottleneck ({share:.0%} of the time spent waiting for it): "
                "more --num_workers may help, as long as there are idle cores"
            )
        return f"data loading is not the bottleneck ({share:.0%} of the time spent waiting for it)"

    def evaluated(self, seconds: float) -> None:
        """Adds the time of an evaluation, for the time left."""
        self.evaluation_seconds.add(seconds)

    def report(self) -> RankReport:
        """What this rank tells the others at the end of an epoch."""
        return make_report(self.epoch.updates, self.epoch.parts, self._peak())

    def _peak(self) -> int:
        """Bytes; 0 before the first update, when a card's pool may not be asked."""
        return 0 if self.is_first else self.memory()

    def end_epoch(
        self, epoch: int, step: int, skipped: int, reports: Sequence[RankReport] = ()
    ) -> None:
        """Records an epoch that has ended, with the reports of all ranks."""
        most = max((report.memory for report in reports), default=0)
        if most > GROWN * self.told_memory:
            self.told_memory = most
            self.log.line(f"epoch {epoch}: {describe_memory(reports)}")
        if reports and (slowest := describe_slowest(reports)):
            self.log.line(f"epoch {epoch}: {slowest}")
        self.log.record(
            "epoch",
            epoch=epoch,
            step=step,
            mean_loss=self.epoch_loss.take(),
            skipped=skipped,
            **self._measured(self.epoch),
            **(numbers(reports) if most else {}),
        )
        self.epoch.restart()

    def close(self) -> None:
        self.bar.close()

    def _seconds_left(self, step: int, evaluations_left: int) -> float:
        speed, one = self.session.per_second(), self.evaluation_seconds
        steps = (self.total_steps - step) / speed if speed else 0.0
        return steps + (evaluations_left * one.total / one.count if one.count else 0.0)

    def _log(self, epoch: int, step: int, lr: float, report: StepReport, left: float) -> Step:
        mean = self.interval_loss.take()
        terms = {name: term.take() for name, term in self.interval_terms.items()}
        shown = "-" if mean is None else f"{mean:.4f}"
        self.log.line(
            f"epoch {epoch}  step {step}/{self.total_steps}  loss {shown}  lr {lr:.4g}"
            + self._describe(self.interval, left),
            console=not self.on_terminal,
        )
        measured = self._measured(self.interval)
        self.log.record(
            "step",
            epoch=epoch,
            step=step,
            lr=lr,
            mean_loss=mean,
            **measured,
            **report.numbers(),
            overflow=report.overflow,
        )
        losses = {"loss": mean, **terms}
        return Step(
            epoch=epoch,
            step=step,
            lr=lr,
            losses={name: value for name, value in losses.items() if value is not None},
            gradient_norm=report.gradient_norm,
            loss_scale=report.loss_scale,
            positives_per_image=report.positives / self.images_per_step,
            peak_memory_gb=self._peak() / GIGA or None,
            **measured,
        )


def clock(seconds: float) -> str:
    """Seconds as 2:03, 1:02:03 or 4 d 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02d}:{rest:02d}"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
