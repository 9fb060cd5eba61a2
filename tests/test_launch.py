"""What started a process, and what contradicts it."""

import os

import pytest

from src.config import make_config
from src.errors import InputError
from src.launch import Launch, check_launch, find_launch, prepare_environment

MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
MSRUN = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "4", "MS_NODE_ID": "3", "DEVICE_ID": "1"}


@pytest.mark.parametrize(
    ("environ", "expected", "is_main"),
    [
        ({}, Launch(), True),
        (MPI, Launch("mpirun", 5, 8, 1), False),
        ({**MPI, "OMPI_COMM_WORLD_RANK": "0"}, Launch("mpirun", 0, 8, 1), True),
        (MSRUN, Launch("msrun", 3, 4, 1), False),
        # the scheduler is none of the ranks
        (
            {"MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": "4", "RANK_ID": "0", "DEVICE_ID": "1"},
            Launch("msrun", 0, 4, 1, is_scheduler=True),
            False,
        ),
    ],
)
def test_environment_tells_who_this_is(environ, expected, is_main):
    launch = find_launch(environ)
    assert launch == expected
    assert launch.is_main == is_main


def test_process_of_msrun_that_does_not_know_its_rank():
    # as on several machines without --node_rank, whose RANK_ID is inherited and wrong
    environ = {**MSRUN, "RANK_ID": "0"}
    del environ["MS_NODE_ID"]
    with pytest.raises(InputError, match="--node_rank"):
        find_launch(environ)


def test_own_environment_is_the_default(monkeypatch):
    for name, value in MPI.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == Launch("mpirun", 5, 8, 1)


@pytest.mark.parametrize(
    ("launch", "keys", "message"),
    [
        (Launch("mpirun", 0, 8), {}, "mpirun started 8 processes, but run_distribute is False"),
        (Launch(), {"run_distribute": True}, "neither mpirun nor msrun started this process"),
        (Launch(), {"device_num": 8}, "device_num is 8, but this is one process on its own"),
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
def test_what_agrees(launch, keys):
    assert check_launch(launch, make_config([(keys, "test")])) is None


def test_ranks_of_msrun_wait_longer_than_its_scheduler(monkeypatch):
    monkeypatch.setenv("MS_NODE_TIMEOUT", "")
    monkeypatch.delenv("MS_NODE_TIMEOUT")
    for launch in (Launch(), Launch("mpirun", 1, 2), Launch("msrun", 0, 2, is_scheduler=True)):
        prepare_environment(launch)
        assert "MS_NODE_TIMEOUT" not in os.environ
    prepare_environment(Launch("msrun", 0, 2))
    assert os.environ["MS_NODE_TIMEOUT"] == "1800"
