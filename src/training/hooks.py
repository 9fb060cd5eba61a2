"""What a run tells about itself: log.txt, metrics.jsonl and a progress bar."""

import shutil
import sys
import time
from pathlib import Path

from tqdm import tqdm

from src.files import to_json

BAR = "{desc}  {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}"  # speed and time left are ours


class RunLog:
    """Writes lines to log.txt and the console, and records to metrics.jsonl.

    Args:
        folder: the run's output_path; it must exist.
    """

    def __init__(self, folder: Path):
        self.text = (folder / "log.txt").open("a", buffering=1, encoding="utf-8")
        self.metrics = (folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")

    def line(self, message: str, *, console: bool = True) -> None:
        """Logs a line with the time of day; a progress bar on the console stays whole."""
        self.text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
        if console:
            tqdm.write(message, file=sys.stdout)
            sys.stdout.flush()

    def record(self, kind: str, **values) -> None:
        """Appends one JSON object to metrics.jsonl."""
        self.metrics.write(to_json({"kind": kind, **values}) + "\n")

    def close(self) -> None:
        self.text.close()
        self.metrics.close()


class Progress:
    """Loss, images/s and time left: a bar on a terminal, plain lines elsewhere.

    The first update compiles the network and evaluations come in between, so neither counts in
    images/s or the time left.

    Args:
        log: where the lines and records go.
        total_steps: updates of the whole run.
        batch_size: images per update, of all ranks.
        log_interval: updates between two lines.
    """

    def __init__(self, log: RunLog, *, total_steps: int, batch_size: int, log_interval: int):
        self.log = log
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.log_interval = log_interval
        # a terminal that does not tell its width would get an empty bar
        self.on_terminal = sys.stderr.isatty() and shutil.get_terminal_size((0, 0)).columns > 0
        self.bar = tqdm(total=total_steps, bar_format=BAR, disable=not self.on_terminal)
        self.steps = 0
        self.timed_steps = 0
        self.seconds = 0.0
        self.interval_losses: list[float] = []

    def update(self, *, epoch: int, step: int, lr: float, losses: dict, seconds: float) -> None:
        """Takes note of one update.

        Args:
            epoch: from 1; step: from 1, over the whole run.
            losses: of this update, by name, "loss" among them.
            seconds: that it took, waiting for data included.
        """
        self.steps += 1
        if self.steps == 1:
            self.log.line(f"compiled and made the first update in {seconds:.1f} s")
        else:
            self.timed_steps += 1
            self.seconds += seconds
        self.interval_losses.append(losses["loss"])
        speed = self.timed_steps * self.batch_size / self.seconds if self.seconds else 0.0
        left = (self.total_steps - step) * self.batch_size / speed if speed else 0.0
        status = f"epoch {epoch}  loss {losses['loss']:.3f}"
        if speed:
            status += f"  {speed:.1f} images/s  {clock(left)} left"
        self.bar.set_description_str(status, refresh=False)
        self.bar.update()
        if step % self.log_interval == 0 or step == self.total_steps:
            mean = sum(self.interval_losses) / len(self.interval_losses)
            self.interval_losses = []
            self.log.line(
                f"epoch {epoch}  step {step}/{self.total_steps}  loss {mean:.4f}  lr {lr:.5f}  "
                f"{speed:.1f} images/s  {clock(left)} left",
                console=not self.on_terminal,
            )
            self.log.record(
                "step",
                epoch=epoch,
                step=step,
                lr=lr,
                images_per_second=round(speed, 2),
                mean_loss=mean,
                **losses,
            )

    def close(self) -> None:
        self.bar.close()


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
