"""Evaluation during training."""

import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.detection.postprocess import build_postprocessor
from src.distributed.ranks import Ranks
from src.evaluation.coco_metric import Metrics, evaluate
from src.evaluation.detect import SplitDetections, detect_with
from src.evaluation.matching import from_score, match_split
from src.evaluation.protocol import build_protocol
from src.evaluation.report.pictures import draw_images
from src.evaluation.split_loss import LossModel, build_split_model, describe_losses
from src.models.ssd import SSD
from src.prediction.network_model import NetworkModel
from src.runtime.errors import InputError, NotFinite
from src.training.callbacks.moments import Evaluation, Picture
from src.training.run_log import RunLog

SHOWN_PICTURES = 4  # images with boxes that callbacks such as TensorBoard get per evaluation


class Evaluator:
    """Evaluates a network at intervals, and keeps the best result.

    The ranks share the work, and all get the result. Without `annotations` it never evaluates.
    """

    def __init__(
        self,
        cfg: Config,
        annotations: Annotations | None,
        network: SSD,
        log: RunLog,
        ranks: Ranks,
    ):
        self.ranks = ranks
        self.cfg = cfg
        self.is_on = annotations is not None and cfg.eval_interval > 0
        self.protocol = build_protocol(cfg)
        self.annotations = None
        if annotations is not None:
            self.annotations = self.protocol.images_of(annotations)
        self.network = network
        self.log = log
        self.best: dict | None = None  # {"AP": , "epoch": , "step": }
        self.stale = 0  # evaluations in a row without a better AP
        self.evaluated_step = 0

    @cached_property
    def model(self) -> NetworkModel | LossModel:
        """The network as a model, built once, so that its graphs are compiled once."""
        postprocess = build_postprocessor(self.cfg, **self.protocol.limits())
        return build_split_model(self.cfg, self.network, self.annotations, postprocess)

    def compile(self) -> None:
        """Compiles the graph of an evaluation."""
        self.network.set_train(False)
        self.model.compile(self.cfg.image_size)

    def update_best(self, on_disk: dict | None) -> None:
        """Uses the evaluation of best.ckpt (`on_disk`) as the best one if it is better."""
        if on_disk and (self.best is None or on_disk["AP"] > self.best["AP"]):
            self.best = on_disk

    def state(self) -> dict:
        """State for a checkpoint; `load` restores it."""
        names = ("best", "stale", "evaluated_step")
        return {name: getattr(self, name) for name in names}

    def load(self, state: dict) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def renumber(self, number: Callable[[int], int]) -> None:
        """Converts the numbers of updates to another numbering."""
        self.evaluated_step = number(self.evaluated_step)
        if self.best is not None:
            self.best = {**self.best, "step": number(self.best["step"])}

    def is_due(self, epoch: int, *, last: bool) -> bool:
        """Whether to evaluate after `epoch`, from 1; always after the last."""
        cfg = self.cfg
        if not self.is_on:
            return False
        return last or (epoch >= cfg.eval_start_epoch and epoch % cfg.eval_interval == 0)

    def left(self, epoch: int, last: int) -> int:
        """Number of evaluations from `epoch` to `last`, both from 1."""
        return sum(self.is_due(e, last=e == last) for e in range(epoch, last + 1))

    def is_patient(self) -> bool:
        """Whether the run may continue."""
        return not (self.is_on and self.cfg.patience) or self.stale < self.cfg.patience

    def __call__(
        self, epoch: int, step: int, check: Callable[[], None], *, is_regular: bool = True
    ) -> Evaluation:
        """Evaluates after `step` updates; `check` may raise to end it early.

        `is_regular` says whether it counts for `patience`.
        """
        started = time.perf_counter()
        found = detect_with(
            self.network,
            self.cfg,
            self.annotations,
            ranks=self.ranks,
            check=check,
            model=self.model,
        )
        self.ranks.idle()
        metrics = self._measure(found, epoch, step, started) if self.ranks.is_main else None
        own = (metrics.overall, found.losses) if metrics else ({}, {})
        overall, losses = self.ranks.from_main(own)
        ap = overall.get("AP", math.nan)
        return Evaluation(
            epoch=epoch,
            step=step,
            metrics=overall,
            losses=losses,
            by_class=metrics.by_class if metrics else {},
            is_best=self._note(-1.0 if math.isnan(ap) else ap, epoch, step, is_regular),
            pictures=partial(self._pictures, found.rows) if metrics else tuple,
        )

    def _note(self, ap: float, epoch: int, step: int, is_regular: bool) -> bool:
        """Counts an evaluation, -1 if it has no AP; returns whether it is the best so far."""
        self.evaluated_step = step
        better = self.best is None or ap > self.best["AP"]
        if better:
            self.best = {"AP": ap, "epoch": epoch, "step": step}
        if step <= self.best["step"]:  # the best may be a later step of an earlier session
            self.stale = 0
        elif is_regular:
            self.stale += 1
        return better

    def _measure(
        self, found: SplitDetections, epoch: int, step: int, started: float
    ) -> Metrics | None:
        """Metrics of the detections, None if there are none; logs them."""
        try:
            found.check()
        except (InputError, NotFinite) as error:
            self.log.line(f"epoch {epoch}: no AP: {error}")
            return None
        if found.unreadable.messages:
            self.log.line(f"without detections: {found.unreadable}")
        metrics = evaluate(self.annotations, self.cfg.classes, found.rows)
        seconds = time.perf_counter() - started
        losses = describe_losses(found.losses)
        self.log.line(
            f"epoch {epoch}: AP {metrics.overall['AP']:.3f}  AP50 {metrics.overall['AP50']:.3f}"
            + (f"  {losses}" if losses else "")
            + f"  (protocol {self.protocol.name}, {len(self.annotations)} images, {seconds:.0f} s)"
        )
        numbers = {"seconds": round(seconds, 1), **metrics.overall, **found.losses}
        self.log.record("evaluation", epoch=epoch, step=step, **numbers)
        return metrics

    def _pictures(self, rows: np.ndarray) -> Iterator[Picture]:
        """Draws a few images with their detections, the same images each time."""
        matches = from_score(match_split(self.annotations, rows), self.cfg.drawn_score)
        order = np.random.default_rng(0).permutation(len(self.annotations))
        some = sorted(order[: min(self.cfg.pictures, SHOWN_PICTURES)].tolist())
        for drawn in draw_images(self.annotations, self.cfg.classes[1:], [matches], some):
            yield f"val/{drawn.record.image_id}", drawn.joined()
