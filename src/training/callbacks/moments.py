"""What a callback is told at the five moments of a run."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Picture = tuple[str, np.ndarray]  # name, (H,W,3) uint8 RGB


@dataclass(frozen=True)
class Start:
    """The run starts or continues: input is checked, weights are loaded, graphs compiled.

    Attributes:
        config: every key in force.
        step: updates that earlier sessions made, 0 for a new run.
        total_steps: updates of the whole schedule.
        command: "train"; "eval" for eval.py, which has no moments but start, evaluation and end.
    """

    folder: Path
    config: Mapping[str, Any]
    step: int = 0
    total_steps: int = 0
    command: str = "train"


@dataclass(frozen=True)
class Step:
    """A line of the log is written, every `log_interval` updates.

    Attributes:
        epoch, step: from 1; step counts over the whole run.
        losses: "loss" and its terms, means over the updates since the last line; none if all of
            these were skipped.
        lr, gradient_norm, loss_scale, positives_per_image: of this update alone.
        images_per_second, data_share: since the last line; None before an update was timed.
        peak_memory_gb: most memory of this process so far, of tensors on a card, on CPU resident.
    """

    epoch: int
    step: int
    lr: float
    losses: Mapping[str, float]
    gradient_norm: float
    loss_scale: float
    positives_per_image: float
    images_per_second: float | None
    data_share: float | None
    peak_memory_gb: float | None = None

    def curves(self) -> dict[str, float]:
        """The finite numbers, by the names of their curves."""
        numbers = {
            **self.losses,
            "gradient_norm": self.gradient_norm,
            "loss_scale": self.loss_scale,
            "lr": self.lr,
            "positives_per_image": self.positives_per_image,
            "peak_memory_gb": self.peak_memory_gb,
        }
        times = {"images_per_second": self.images_per_second, "data_share": self.data_share}
        return finite({f"train/{name}": value for name, value in numbers.items()}) | finite(
            {f"time/{name}": value for name, value in times.items()}
        )


@dataclass(frozen=True)
class Evaluation:
    """The network was evaluated; if it is the best so far, best.ckpt is written.

    Attributes:
        metrics: AP, AP50 and the others by COCO's names; none if there is no AP.
        losses: "loss" and its terms over the images; none if `eval_loss` is off.
        by_class: of each metric, the value of each class; on rank 0 only.
        is_best: whether the AP is the run's highest so far.
        pictures: draws a few evaluated images, ground truth left, detections right; on rank 0.
        report: the page that eval.py has written, if any.
        prefix: of its curves; "val" in a training run, "eval" of eval.py.
    """

    epoch: int
    step: int
    metrics: Mapping[str, float]
    by_class: Mapping[str, Mapping[str, float]]
    is_best: bool
    pictures: Callable[[], Iterable[Picture]] = tuple
    report: Path | None = None
    prefix: str = "val"
    losses: Mapping[str, float] = field(default_factory=dict)

    def curves(self) -> dict[str, float]:
        """The finite metrics and losses, by the names of their curves."""
        numbers = {**self.metrics, **self.losses}
        return finite({f"{self.prefix}/{name}": value for name, value in numbers.items()})


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint is complete on the disk: last.ckpt, epoch_NN.ckpt or best.ckpt."""

    path: Path
    epoch: int
    step: int


@dataclass(frozen=True)
class End:
    """The run ends; whatever it saves is saved.

    Attributes:
        status: "finished", "interrupted" by a signal, or "failed".
        reason: the error, the signal, or why the run ended early; "" at its regular end.
        best: the best evaluation, "AP", "epoch" and "step", if there is one.
        best_path: its checkpoint.
    """

    status: str
    reason: str = ""
    step: int = 0
    epoch: int = 0
    best: Mapping[str, float] | None = None
    best_path: Path | None = None


Moment = Start | Step | Evaluation | Checkpoint | End
MOMENTS = ("start", "step", "evaluation", "checkpoint", "end")  # names of a callback's methods


def name_of(moment: Moment) -> str:
    """The method that is told of the moment."""
    return type(moment).__name__.lower()


def finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """The values that are numbers, neither nan nor infinite."""
    return {name: v for name, v in values.items() if v is not None and math.isfinite(v)}
