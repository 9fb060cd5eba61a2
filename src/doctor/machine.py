"""Checks of cores, shared memory, ranks, and the files that the configuration names."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src.config.configuration import Config
from src.config.keys import load_keys
from src.distributed.launch import Launch, check_launch
from src.doctor.open_mpi import ask_mpi, check_mpi
from src.runtime.errors import InputError
from src.runtime.plugins.findings import Finding, failed, ok, skipped
from src.runtime.text import count

SHARED_FOLDER = Path("/dev/shm")  # of Python's shared memory
SPARE = 1.5  # times the slots: annotations are shared too, and Open MPI has files there
FOR_NCCL = 2 << 30  # bytes; ranks of a machine use it where cards cannot exchange directly
OBJECTS = 100  # boxes of an image, more than any image of COCO has
BOUND = "OMPI_MCA_orte_bound_at_launch"  # set by Open MPI 4 where it binds ranks to cores
OF_MSRUN = re.compile(r"--local_worker_num[=\0](\d+)")  # in its command line


def gigabytes(count: float) -> str:
    """Bytes as text, in GB from 0.1 GB on, else in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def local_size(launch: Launch, environ: Mapping[str, str], command: str | None = None) -> int:
    """Ranks on this machine; all of them where the launcher does not say.

    Args:
        command: of the parent process, its words ended by NUL; read by default. Only there does
            msrun give the number.
    """
    if launch.by == "msrun":
        found = OF_MSRUN.search(parents_command() if command is None else command)
        return int(found.group(1)) if found else launch.size
    return int(environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", launch.size))


def parents_command() -> str:
    """The command line of the parent process; "" where it cannot be read."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def slot_bytes(cfg: Config) -> int:
    """Bytes of shared memory for a rank's batches."""
    from src.data.workers import SPARE_SLOTS, layout_bytes
    from src.detection.anchors import build_anchors

    if not cfg.num_workers:
        return 0
    n, anchors = cfg.batch_size, len(build_anchors(cfg).boxes(cfg.image_size))
    layout = {
        "images": ((n, *cfg.image_size, 3), np.uint8),
        "assigned": ((n, anchors), np.int32),
        "boxes": ((n, OBJECTS, 4), np.float32),
        "labels": ((n, OBJECTS), np.int32),
    }
    return layout_bytes(layout) * (cfg.num_workers + SPARE_SLOTS)


def check_shared(free: int, slots: int, ranks: int, target: str) -> Finding:
    """Whether the `free` bytes of /dev/shm suffice for the batches of all ranks, `slots` each."""
    needed = int(SPARE * slots * ranks)
    if ranks > 1 and target != "CPU":
        needed += FOR_NCCL
    of_ranks = f"{count(ranks, 'rank')} take {gigabytes(slots * ranks)}"
    found = f"{gigabytes(free)} free; batches of {of_ranks}"
    if free >= needed:
        return ok("/dev/shm", found)
    return failed(
        "/dev/shm",
        f"{found}; {gigabytes(needed)} are needed",
        "start a container with --shm-size=8g; else make it larger: mount -o remount,size=8G "
        "/dev/shm; or lower --num_workers or --batch_size",
    )


def check_cores(
    own: int, there: int, ranks: int, workers: int, target: str, *, is_bound: bool
) -> Finding:
    """Whether each rank has a core, and on cards its workers too.

    Args:
        own: cores that this process may use.
        there: cores of the machine.
        ranks: on this machine.
        is_bound: whether the launcher bound each rank to its own cores.
    """
    share = min(own, there / ranks) if is_bound else own / ranks
    needed = 1 if target == "CPU" else workers + 1  # on CPU they share the network's cores
    cores = f"{own} of {there}" if own < there else f"{own}"
    found = f"{cores} for {count(ranks, 'rank')} with {count(workers, 'worker')} each"
    if share >= needed:
        return ok("cores", found)
    remedy = "start fewer ranks"
    if target != "CPU":
        remedy = f"lower --num_workers to {max(int(share) - 1, 0)}, or {remedy}"
    if is_bound and there / ranks >= needed:
        remedy = "the launcher binds ranks to cores: add --bind-to none to mpirun"
    return failed("cores", f"{found}; a rank needs {needed}", remedy)


def check_ranks(launch: Launch, cfg: Config) -> Finding:
    """Whether the launcher and the configuration agree."""
    name = "ranks"
    try:
        check_launch(launch, {**cfg, "run_distribute": cfg.run_distribute or launch.size > 1})
    except InputError as error:
        return failed(name, str(error), "start it as you will start the training")
    return ok(name, f"{launch.size}, started by {launch.by}" if launch.by else "one process")


def named_keys(cfg: Config) -> set[str]:
    """Keys whose values differ from default.yaml."""
    keys = load_keys().items()
    return {name for name, key in keys if cfg[name] != key.check(key.default, "default.yaml")}


def check_data(cfg: Config) -> Finding:
    """Whether the data set is there; skipped if only the default one is missing."""
    from src.data.dataset import find_source
    from src.data.readers.formats import READERS

    try:
        sources = [find_source(cfg, training=True)]
        if cfg.eval_interval:
            sources.append(find_source(cfg, training=False))
    except InputError as error:
        key = READERS[cfg.dataset].key
        if key not in named_keys(cfg):
            return skipped("data", f"none named with --{key}=")
        return failed(
            "data", str(error), "python3 -m src.data.validate checks a data set in detail"
        )
    return ok("data", ", ".join(str(source.path) for source in sources))


def check_weights(cfg: Config) -> Finding:
    """Whether the files that a run starts from are there."""
    from src.runtime.files import check_file

    found = {key: cfg[key] for key in ("pretrained", "finetune") if cfg[key]}
    try:
        for key in found:
            check_file(cfg, key)
    except InputError as error:
        remedy = "ckpt/README.md says where it comes from; --pretrained= starts from scratch"
        return failed("weights", str(error), remedy)
    return ok("weights", ", ".join(found.values()) or "none named: from scratch")


def check_machine(cfg: Config, launch: Launch, environ: Mapping[str, str]) -> list[Finding]:
    """All checks of this file, and Open MPI's."""
    here = local_size(launch, environ)
    own, target = len(os.sched_getaffinity(0)), cfg.device_target
    free = shutil.disk_usage(SHARED_FOLDER).free if SHARED_FOLDER.is_dir() else 0
    return [
        check_cores(
            own, os.cpu_count() or own, here, cfg.num_workers, target, is_bound=BOUND in environ
        ),
        check_shared(free, slot_bytes(cfg), here, target),
        check_mpi(*ask_mpi(environ), launch),
        check_ranks(launch, cfg),
        check_weights(cfg),
        check_data(cfg),
    ]
