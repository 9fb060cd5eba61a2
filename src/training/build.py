"""The parts of a training run that a configuration asks for."""

from typing import Optional

import numpy as np

from src.config.configuration import Config
from src.distributed.ranks import Ranks
from src.losses.detection_loss import DetectionLoss
from src.models.ssd import SSD, build_ssd
from src.runtime.stopwatch import Stopwatch
from src.training.ema import MovingAverages
from src.training.loss_scale import build_loss_scale
from src.training.optimizer import build_optimizer
from src.training.run_log import RunLog
from src.training.step import TrainStep
from src.training.update_graphs import LossNetwork
from src.weights.checkpoint_file import check_run, run_config
from src.weights.loading import load_backbone, load_for_finetuning


def of_the_run(cfg: Config) -> Config:
    """The configuration without what concerns one session of a run alone."""
    return cfg.replace(
        resume=False, resume_from="", profile=False, run_distribute=False, device_num=0
    )


def build_network(cfg: Config, anchors_per_cell: int, log: RunLog, *, start: bool = True) -> SSD:
    """The detector, with the weights to `start` from where the configuration names some."""
    network = build_ssd(cfg, anchors_per_cell)
    if not start:
        return network
    if cfg.pretrained and not cfg.finetune:
        log.line(load_backbone(network, cfg.pretrained))
    if cfg.finetune:
        log.line(load_for_finetuning(network, cfg.finetune))
        check_run(cfg.finetune, run_config(cfg.finetune), cfg, finetuning=True)
    return network


def build_step(
    cfg: Config,
    network: SSD,
    anchors: np.ndarray,
    *,
    averaged: Optional[SSD] = None,
    clock: Optional[Stopwatch] = None,
    ranks: Optional[Ranks] = None,
) -> TrainStep:
    """The update of a configuration.

    Args:
        anchors: (A,4).
        averaged: takes the averages of the network's weights, if there are any.
        clock: gets the times of its parts.
        ranks: of the job; by default this process alone.
    """
    loss = DetectionLoss(
        anchors,
        alpha=cfg.focal_alpha,
        gamma=cfg.focal_gamma,
        beta=cfg.smooth_l1_beta,
        box_weight=cfg.box_weight,
    )
    return TrainStep(
        LossNetwork(network, loss),
        build_optimizer(cfg, network.trainable_params()),
        clip_norm=cfg.clip_norm,
        loss_scale=build_loss_scale(cfg),
        averages=None if averaged is None else MovingAverages(network, averaged),
        ema_decay=cfg.ema_decay,
        clock=clock,
        ranks=ranks,
    )
