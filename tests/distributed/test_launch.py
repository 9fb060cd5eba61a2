"""What started a process, and what contradicts it."""

import os

import pytest

from src.config.configuration import make_config
from src.distributed.launch import (
    Launch,
    card_of_rank,
    check_launch,
    find_launch,
    prepare_environment,
)
from src.runtime.errors import InputError
from tests.jobs import run

MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
# what Open MPI 5.0.11 adds and changes
MPI5 = {
    **MPI,
    "OMPI_VERSION": "5.0.11",
    "OMPI_COMMAND": "python3",
    "PMIX_RANK": "5",
    "PRTE_LAUNCHED": "1",
}
# salloc's shell and sbatch's script (man sbatch, "OUTPUT ENVIRONMENT VARIABLES")
ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_NPROCS": "8"}
BATCH = {**ALLOCATION, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
# a process of srun (man srun, "OUTPUT ENVIRONMENT VARIABLES"), by default and with --mpi=pmix, pmi2
SRUN = {**BATCH, "SLURM_PROCID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"}
SRUN_PMIX = {**SRUN, "PMIX_RANK": "5", "PMIX_NAMESPACE": "slurm.pmix.7.0"}
SRUN_PMI2 = {**SRUN, "PMI_RANK": "5", "PMI_SIZE": "8", "PMI_FD": "9"}
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "2", "PMI_FD": "9", "MPI_LOCALRANKID": "1"}
INTEL = {**MPICH, "I_MPI_HYDRA_TOPOLIB": "ipl2"}
PRTERUN = {"PMIX_RANK": "1", "PMIX_NAMESPACE": "prterun-node-1@1", "PRTE_LAUNCHED": "1"}
MSRUN = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "4", "MS_NODE_ID": "3", "DEVICE_ID": "1"}


@pytest.mark.parametrize(
    ("environ", "expected", "is_main"),
    [
        ({}, Launch(), True),
        (MPI, Launch("mpirun", 5, 8, 1), False),
        ({**MPI, "OMPI_COMM_WORLD_RANK": "0"}, Launch("mpirun", 0, 8, 1), True),
        (MPI5, Launch("mpirun", 5, 8, 1), False),
        (MSRUN, Launch("msrun", 3, 4, 1), False),
        # within an allocation, as a step of srun, or as one of its processes
        ({**BATCH, **MPI}, Launch("mpirun", 5, 8, 1), False),
        ({**SRUN_PMIX, **MPI5}, Launch("mpirun", 5, 8, 1), False),
        ({**SRUN, **MSRUN}, Launch("msrun", 3, 4, 1), False),
        # one process on its own, however many the allocation is for
        (ALLOCATION, Launch(), True),
        (BATCH, Launch(), True),
        ({**SRUN_PMIX, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Launch(), True),
        ({**INTEL, "PMI_SIZE": "1", "PMI_RANK": "0"}, Launch(), True),
        # the scheduler is none of the ranks
        (
            {"MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": "4", "RANK_ID": "0", "DEVICE_ID": "1"},
            Launch("msrun", 0, 4, 1, is_scheduler=True),
            False,
        ),
    ],
)
def test_launch_from_the_environment(environ, expected, is_main):
    launch = find_launch(environ)
    assert launch == expected
    assert launch.is_main == is_main


def test_process_of_msrun_that_does_not_know_its_rank():
    # as on several machines without --node_rank, whose RANK_ID is inherited and wrong
    environ = {**MSRUN, "RANK_ID": "0"}
    del environ["MS_NODE_ID"]
    with pytest.raises(InputError, match="--node_rank"):
        find_launch(environ)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (SRUN, "^srun started 8 processes, but .* 'mpirun -n N python3 ...' or msrun; a single"),
        (SRUN_PMIX, "^srun started 8 processes"),
        (SRUN_PMI2, "^srun started 8 processes"),
        (INTEL, "^mpiexec of Intel MPI started 2 processes, but .* python3 ...' or msrun$"),
        (MPICH, "^mpiexec of MPICH started 2 processes"),
        (PRTERUN, r"^a PMIx launcher \(prterun\?\) started this process"),
    ],
)
def test_launchers_that_are_refused(environ, message):
    with pytest.raises(InputError, match=message):
        find_launch(environ)


@pytest.mark.parametrize("program", ["train.py", "eval.py", "predict.py", "export.py"])
def test_refusal_is_one_line_and_a_status(program):
    done = run(["python3", program], **SRUN)
    assert done.returncode == 2
    assert done.stdout.startswith("error: srun started 8 processes")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("local_rank", "cards", "is_restricted", "expected"),
    [(0, 1, False, 0), (3, 8, False, 3), (7, 8, True, 7), (5, 1, True, 0)],
)
def test_card_of_a_rank(local_rank, cards, is_restricted, expected):
    found = card_of_rank(local_rank, cards=cards, target="GPU", is_restricted=is_restricted)
    assert found == expected


@pytest.mark.parametrize(
    ("local_rank", "cards", "target", "is_restricted", "variable"),
    [
        (4, 4, "GPU", False, "CUDA_VISIBLE_DEVICES"),
        (4, 2, "Ascend", True, "ASCEND_RT_VISIBLE_DEVICES"),
        (1, 1, "GPU", False, "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_more_ranks_than_cards(local_rank, cards, target, is_restricted, variable):
    expected = f"^rank {local_rank} of this .* {target}, and it sees {cards}; .* {variable}$"
    with pytest.raises(InputError, match=expected):
        card_of_rank(local_rank, cards=cards, target=target, is_restricted=is_restricted)


def test_own_environment_is_the_default(monkeypatch):
    for name, value in MPI.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == Launch("mpirun", 5, 8, 1)


@pytest.mark.parametrize(
    ("launch", "keys", "message"),
    [
        (Launch("mpirun", 0, 8), {}, "mpirun started 8 processes, but run_distribute is False"),
        (Launch(), {"run_distribute": True}, "neither mpirun nor msrun started this process"),
        (Launch(), {"device_num": 8}, "device_num is 8, but this is a single process"),
        (
            Launch("msrun", 0, 4),
            {"run_distribute": True, "device_num": 8},
            "device_num is 8, but msrun started 4 processes.*--device_num=4",
        ),
        (
            Launch("mpirun", 0, 8),
            {"run_distribute": True, "device_id": 3},
            "device_id is 3, but mpirun started 8 processes",
        ),
    ],
)
def test_contradictions(launch, keys, message):
    with pytest.raises(InputError, match=message):
        check_launch(launch, make_config([(keys, "test")]))


@pytest.mark.parametrize(
    ("launch", "keys"),
    [
        (Launch(), {}),
        (Launch(), {"device_num": 1, "device_id": 3}),
        (Launch("mpirun", 0, 1), {}),
        (Launch("mpirun", 0, 1), {"run_distribute": True, "device_num": 1}),
        (Launch("mpirun", 0, 8), {"run_distribute": True, "device_num": 8}),
        (Launch("msrun", 0, 8), {"run_distribute": True}),
    ],
)
def test_consistent_settings(launch, keys):
    assert check_launch(launch, make_config([(keys, "test")])) is None


def test_ranks_of_msrun_wait_longer_than_its_scheduler(monkeypatch):
    monkeypatch.setenv("MS_NODE_TIMEOUT", "")
    monkeypatch.delenv("MS_NODE_TIMEOUT")
    for launch in (Launch(), Launch("mpirun", 1, 2), Launch("msrun", 0, 2, is_scheduler=True)):
        prepare_environment(launch)
        assert "MS_NODE_TIMEOUT" not in os.environ
    prepare_environment(Launch("msrun", 0, 2))
    assert os.environ["MS_NODE_TIMEOUT"] == "1800"


def test_variable_that_mindspore_needs_under_mpirun(monkeypatch):
    monkeypatch.setenv("OMPI_COMMAND", "")
    monkeypatch.delenv("OMPI_COMMAND")
    prepare_environment(Launch())
    assert "OMPI_COMMAND" not in os.environ
    prepare_environment(Launch("mpirun", 1, 2))
    assert os.environ["OMPI_COMMAND"]
    monkeypatch.setenv("OMPI_COMMAND", "python3")
    prepare_environment(Launch("mpirun", 1, 2))
    assert os.environ["OMPI_COMMAND"] == "python3"
