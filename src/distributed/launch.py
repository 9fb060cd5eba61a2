"""Finds out what started this process: a shell, mpirun or msrun; imports nothing slow."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from src.runtime.errors import InputError

LONGEST_WAIT = 1800.0  # seconds, for long work of one rank: compiling, saving, the metric
# environment variables that restrict the cards a process sees
VISIBLE_CARDS = {"GPU": "CUDA_VISIBLE_DEVICES", "Ascend": "ASCEND_RT_VISIBLE_DEVICES"}


@dataclass(frozen=True)
class Launch:
    """One process of a job.

    Attributes:
        by: "mpirun" (Open MPI's), "msrun" (MindSpore's), or "" for a single process.
        rank: number among `size` processes, from 0; local_rank: among those on this machine.
        is_scheduler: whether it is the process that msrun starts to connect the ranks.
    """

    by: str = ""
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    is_scheduler: bool = False

    @property
    def is_main(self) -> bool:
        """Whether it is the process that writes and prints."""
        return self.rank == 0 and not self.is_scheduler


def find_launch(environ: Mapping[str, str] | None = None) -> Launch:
    """Reads the environment (os.environ by default); InputError for other or unusable launchers."""
    environ = os.environ if environ is None else environ
    if role := environ.get("MS_ROLE"):
        is_scheduler = role == "MS_SCHED"
        if not is_scheduler and "MS_NODE_ID" not in environ:
            raise InputError("msrun gives its processes no rank: start it with --node_rank")
        return Launch(
            "msrun",
            rank=0 if is_scheduler else int(environ["MS_NODE_ID"]),
            size=int(environ["MS_WORKER_NUM"]),
            local_rank=int(environ.get("DEVICE_ID", 0)),
            is_scheduler=is_scheduler,
        )
    if "OMPI_COMM_WORLD_SIZE" in environ:  # Open MPI 4 and 5
        names = ("RANK", "SIZE", "LOCAL_RANK")
        return Launch("mpirun", *(int(environ[f"OMPI_COMM_WORLD_{name}"]) for name in names))
    refuse_others(environ)
    return Launch()


def other_launcher(environ: Mapping[str, str]) -> tuple[str, int]:
    """A launcher that is neither mpirun nor msrun: its name, and its number of processes.

    The number is 0 if unknown. SLURM_NTASKS and SLURM_PROCID are not used: an allocation's shell
    and batch script have them too, while SLURM_STEP_NUM_TASKS is set by srun alone.
    """
    if tasks := environ.get("SLURM_STEP_NUM_TASKS"):
        return "srun", int(tasks)
    if size := environ.get("PMI_SIZE"):
        is_intel = any(name.startswith("I_MPI_") for name in environ)
        return f"mpiexec of {'Intel MPI' if is_intel else 'MPICH'}", int(size)
    if "PMIX_RANK" in environ:
        return "a PMIx launcher (prterun?)", 0
    return "", 1


def refuse_others(environ: Mapping[str, str]) -> None:
    """InputError if another launcher started several processes, which could not connect."""
    name, size = other_launcher(environ)
    if size == 1:
        return
    alone = "; a single process with 'srun -n 1'" if name == "srun" else ""
    raise InputError(
        f"{name} started {f'{size} processes' if size else 'this process'}, but ranks find each "
        "other only under mpirun of Open MPI 4 or 5 and under msrun: start them with "
        f"scripts/run_distribute_train.sh, 'mpirun -n N python3 ...' or msrun{alone}"
    )


def check_launch(launch: Launch, cfg: Mapping) -> None:
    """InputError if run_distribute, device_num or device_id contradict how the job was started."""
    started = f"{launch.by} started {launch.size} processes"
    if launch.size > 1 and not cfg["run_distribute"]:
        raise InputError(
            f"{started}, but run_distribute is False, so each would do all the work; add "
            "--run_distribute=True"
        )
    if cfg["run_distribute"] and not launch.by:
        raise InputError(
            "run_distribute is True, but neither mpirun nor msrun started this process; start it "
            "with 'mpirun -n 8 python3 ...' or scripts/run_distribute_train.sh, or omit the flag"
        )
    if cfg["device_num"] not in (0, launch.size):
        raise InputError(
            f"device_num is {cfg['device_num']}, but "
            + (started if launch.by else "this is a single process")
            + f"; start as many as there are devices, or give --device_num={launch.size}"
        )
    if launch.size > 1 and cfg["device_id"]:
        raise InputError(
            f"device_id is {cfg['device_id']}, but {started}: each uses the card of its local "
            "rank; omit --device_id"
        )


def card_of_rank(local_rank: int, *, cards: int, target: str, is_restricted: bool) -> int:
    """The card that a rank uses, of the `cards` that it sees: the one of its local rank.

    If a variable restricts it to one card, it uses that: schedulers give each rank its own card
    this way. Only the doctor detects two ranks with the same card.

    Raises:
        InputError: there are more ranks than cards.
    """
    if cards == 1 and is_restricted:
        return 0
    if local_rank >= cards:
        raise InputError(
            f"rank {local_rank} of this machine has no card: device_target is {target}, and it "
            f"sees {cards}; start one rank for each card, or check "
            f"{VISIBLE_CARDS[target]}"
        )
    return local_rank


def prepare_environment(launch: Launch) -> None:
    """Sets what MindSpore reads when it is imported."""
    if launch.by == "mpirun":  # without it MindSpore takes a rank for a single process
        os.environ.setdefault("OMPI_COMMAND", sys.argv[0])
    # the scheduler keeps the default of 30 s, after which a rank counts as dead
    if launch.by == "msrun" and not launch.is_scheduler:
        os.environ.setdefault("MS_NODE_TIMEOUT", f"{LONGEST_WAIT:.0f}")
