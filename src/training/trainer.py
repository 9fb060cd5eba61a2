"""The training loop."""

import math
import time
from pathlib import Path
from typing import Optional

import mindspore as ms

from src.config import Config
from src.data.annotations import Annotations
from src.data.loader import TrainBatch, build_loader
from src.data.problems import Unreadable
from src.detection.anchors import build_anchors
from src.evaluation.coco import Metrics, evaluate
from src.evaluation.detect import detect_with
from src.losses import DetectionLoss
from src.models.ssd import SSD, build_ssd
from src.training.checkpoint import Checkpoints
from src.training.hooks import Progress, RunLog
from src.training.optimizer import build_optimizer
from src.training.schedule import warmup_cosine
from src.training.step import LossNetwork, TrainStep
from src.weights import check_run, load_backbone, load_for_finetuning

REPORT = ("loss", "class_loss", "box_loss", "positives", "gradient_norm")


class Trainer:
    """Trains the detector of a configuration on a split and evaluates it on another.

    Args:
        cfg: the configuration.
        annotations: the training split.
        val_annotations: the split to evaluate on; None never evaluates.
        log: of the run, in `cfg.output_path`.

    Raises:
        InputError: fewer images than a batch, or unusable weights.
    """

    def __init__(
        self,
        cfg: Config,
        annotations: Annotations,
        val_annotations: Optional[Annotations],
        log: RunLog,
    ):
        self.cfg = cfg
        self.val_annotations = val_annotations
        self.log = log
        generator = build_anchors(cfg)
        self.anchors = generator.boxes(cfg.image_size)
        self.network = build_network(cfg, generator.boxes_per_cell, log)
        self.step_cell = build_step(cfg, self.network, self.anchors)
        self.loader = build_loader(cfg, annotations)
        self.unreadable = Unreadable(annotations.source, len(annotations))
        self.steps_per_epoch = self.loader.steps_per_epoch
        self.total_steps = cfg.epoch_size * self.steps_per_epoch
        self.checkpoints = Checkpoints(
            Path(cfg.output_path) / "ckpt",
            keep=cfg.keep_checkpoints,
            metadata={"config": cfg.to_yaml()},
        )
        self.best: Optional[Metrics] = None

    def run(self) -> Optional[Metrics]:
        """Trains to the end; returns the metrics of the best evaluation, if there was one."""
        cfg = self.cfg
        stop_at = min(cfg.max_steps or self.total_steps, self.total_steps)
        progress = Progress(
            self.log,
            total_steps=stop_at,
            batch_size=cfg.batch_size,
            log_interval=cfg.log_interval,
        )
        step = 0
        try:
            for epoch in range(1, cfg.epoch_size + 1):
                step = self._epoch(epoch, step, stop_at, progress)
                last = step == stop_at
                if last or epoch % cfg.save_interval == 0:
                    self.checkpoints.save(self.network, epoch=epoch, step=step)
                if self._is_due(epoch, last) and self._evaluate(epoch, step):
                    self.checkpoints.save_best(self.network, epoch=epoch, step=step)
                if last:
                    break
        finally:
            progress.close()
            self.loader.close()
            if self.unreadable.messages:
                self.log.line(f"replaced by others: {self.unreadable}")
        return self.best

    def _epoch(self, epoch: int, step: int, stop_at: int, progress: Progress) -> int:
        """Trains one epoch (from 1), up to update `stop_at`; returns the updates made by then."""
        self.network.set_train(True)
        started = time.perf_counter()
        for batch in self.loader.epoch(epoch - 1, stop=stop_at - step):
            self.unreadable.add(batch.unread)
            self.unreadable.check()
            lr = self._learning_rate(step)
            losses = self._update(batch, lr)
            step += 1
            now = time.perf_counter()
            progress.update(epoch=epoch, step=step, lr=lr, losses=losses, seconds=now - started)
            started = now
        return step

    def _update(self, batch: TrainBatch, lr: float) -> dict[str, float]:
        """One update; returns its losses. RuntimeError where the loss is not finite."""
        report = self.step_cell(
            ms.Tensor(batch.images),
            ms.Tensor(batch.assigned),
            ms.Tensor(batch.boxes),
            ms.Tensor(batch.labels),
            ms.Tensor(lr, ms.float32),
        ).asnumpy()
        losses = dict(zip(REPORT, map(float, report)))
        if not math.isfinite(losses["loss"] + losses["gradient_norm"]):
            raise RuntimeError(
                f"loss {losses['loss']}, gradient norm {losses['gradient_norm']} on images "
                f"{batch.image_ids.tolist()}; try a lower lr"
            )
        return losses

    def _learning_rate(self, step: int) -> float:
        cfg = self.cfg
        return warmup_cosine(
            step,
            base_lr=cfg.lr,
            warmup_ratio=cfg.warmup_ratio,
            warmup_steps=round(cfg.warmup_epochs * self.steps_per_epoch),
            total_steps=self.total_steps,
        )

    def _is_due(self, epoch: int, last: bool) -> bool:
        cfg = self.cfg
        if self.val_annotations is None or cfg.eval_interval == 0:
            return False
        return last or (epoch >= cfg.eval_start_epoch and epoch % cfg.eval_interval == 0)

    def _evaluate(self, epoch: int, step: int) -> bool:
        """Evaluates the network as it is; True where it is the best so far."""
        cfg = self.cfg
        results, unreadable = detect_with(self.network, cfg, self.val_annotations)
        metrics = evaluate(self.val_annotations, cfg.classes, results)
        if unreadable.messages:
            self.log.line(f"without detections: {unreadable}")
        self.log.line(
            f"epoch {epoch}: AP {metrics.overall['AP']:.3f}  AP50 {metrics.overall['AP50']:.3f}  "
            f"(protocol coco, {len(self.val_annotations)} images)"
        )
        self.log.record("evaluation", epoch=epoch, step=step, **metrics.overall)
        if self.best is None or metrics.overall["AP"] > self.best.overall["AP"]:
            self.best = metrics
            return True
        return False


def build_network(cfg: Config, boxes_per_cell: int, log: RunLog) -> SSD:
    """The detector with the weights that the configuration says to start from."""
    network = build_ssd(cfg, boxes_per_cell)
    if cfg.pretrained and not cfg.finetune:
        log.line(load_backbone(network, cfg.pretrained))
    if cfg.finetune:
        log.line(load_for_finetuning(network, cfg.finetune))
        check_run(cfg.finetune, cfg, finetuning=True)
    return network


def build_step(cfg: Config, network: SSD, anchors) -> TrainStep:
    """The update cell of a configuration, in training mode."""
    loss = DetectionLoss(
        anchors, alpha=cfg.alpha, gamma=cfg.gamma, beta=cfg.beta, box_weight=cfg.box_weight
    )
    optimizer = build_optimizer(cfg, network.trainable_params())
    step = TrainStep(
        LossNetwork(network, loss),
        optimizer,
        clip_norm=cfg.clip_norm,
        loss_scale=cfg.loss_scale,
    )
    return step.set_train(True)
