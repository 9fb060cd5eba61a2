"""Sets up the device of a process, and lets it join the other ranks of its job."""

import os
import sys

import mindspore as ms
from mindspore import communication

from src.distributed.launch import VISIBLE_CARDS, Launch, card_of_rank
from src.distributed.mpi import MpiRanks
from src.distributed.msrun import ClusterRanks
from src.distributed.ranks import Ranks
from src.runtime.device import find_cards, select_device, set_cpu_threads, tune_gpu
from src.runtime.errors import RunError
from src.runtime.signals import Interruption


def build_device(
    cfg, launch: Launch | None = None, interruption: Interruption | None = None
) -> Ranks:
    """Sets up the configured device, and lets this rank join its job.

    Raises:
        InputError: MindSpore finds no such device, or none for this rank.
        RunError: the ranks do not find each other.
    """
    launch = launch or Launch()
    target, device_id = cfg.device_target, cfg.device_id
    if launch.is_scheduler:
        run_scheduler(launch)
    if launch.size > 1 and target != "CPU":
        is_restricted = VISIBLE_CARDS[target] in os.environ
        device_id = card_of_rank(
            launch.local_rank,
            cards=find_cards(target),
            target=target,
            is_restricted=is_restricted,
        )
    select_device(target, device_id)
    if target == "GPU":
        tune_gpu(conv_algorithm=cfg.conv_algorithm, tf32=cfg.tf32)
    ranks = join(cfg, launch, interruption or Interruption())
    if target == "CPU":
        set_cpu_threads(cfg.cpu_threads or ranks.cores())
    return ranks


def join(cfg, launch: Launch, interruption: Interruption) -> Ranks:
    """Joins the job, after the device is set up; RunError if the ranks do not find each other."""
    if launch.size == 1:
        return Ranks()
    options = {"timeout": cfg.rank_timeout, "interruption": interruption}
    if launch.by == "msrun":
        return ClusterRanks(launch, **options)
    return MpiRanks(launch, cfg.device_target, **options)


def run_scheduler(launch: Launch) -> None:
    """Runs as msrun's scheduler, which connects the ranks, then exits."""
    if launch.size > 1:
        ms.set_device("CPU")
        try:
            communication.init()  # waits for them
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"the scheduler waited for a rank: {reason}") from error
    sys.exit(0)
