"""Checks of cores, shared memory, Open MPI and the configuration's files."""

import pytest

from src.config.configuration import make_config
from src.distributed.launch import Launch
from src.doctor import machine, memory
from src.doctor.open_mpi import check_mpi
from src.runtime.device import find_cards
from src.runtime.errors import InputError
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import FAILED, OK, SKIPPED, failed, ok, skipped, summary
from src.runtime.plugins.software import check_mindspore, check_numpy, check_python

MPIRUN = Answer("", "mpirun (Open MPI) 4.1.8\n\nReport bugs to http://www.open-mpi.org\n")
LIBRARY = Answer("", "Open MPI v4.1.8, package: Open MPI, ident: 4.1.8, repo rev: v4.1.8\x00\n")
INTEL = Answer("", "Intel(R) MPI Library, Version 2021.9\n")
OF_MPIRUN = Launch("mpirun", rank=0, size=2)


def config(**keys):
    """The defaults with some keys changed."""
    return make_config([(keys, "test")])


def test_batches_of_the_default_recipe_take_92_megabytes_of_shared_memory():
    """16 images of 640 x 640 x 3 bytes, 51,150 targets and 100 boxes; 2 workers and 2 spare."""
    image = 640 * 640 * 3 + 51_150 * 4 + 100 * (16 + 4)
    assert machine.slot_bytes(config()) == 4 * 16 * image
    assert machine.slot_bytes(config(num_workers=0)) == 0


@pytest.mark.parametrize(
    ("free", "ranks", "target", "status"),
    [
        (64 << 20, 1, "GPU", FAILED),  # Docker's own
        (1 << 30, 1, "GPU", OK),
        (1 << 30, 8, "GPU", FAILED),
        (8 << 30, 8, "GPU", OK),
        (1 << 30, 4, "CPU", OK),
        (0, 1, "CPU", FAILED),
    ],
)
def test_shared_memory(free, ranks, target, status):
    finding = machine.check_shared(free, 92_000_000, ranks, target)
    assert finding.status == status
    assert ("--shm-size=8g" in finding.remedy) == (status == FAILED)


@pytest.mark.parametrize(
    ("own", "there", "ranks", "target", "is_bound", "remedy"),
    [
        (24, 24, 8, "GPU", False, ""),
        (16, 24, 8, "GPU", False, "--num_workers to 1"),  # a container with some of the cores
        (8, 8, 8, "GPU", False, "--num_workers to 0"),
        (12, 24, 8, "GPU", True, ""),  # four ranks on each of two sockets
        (8, 16, 8, "GPU", True, "--num_workers to 1"),
        (1, 48, 8, "GPU", True, "--bind-to none"),
        (2, 2, 2, "CPU", False, ""),
        (2, 2, 4, "CPU", False, "fewer ranks"),
    ],
)
def test_cores(own, there, ranks, target, is_bound, remedy):
    finding = machine.check_cores(own, there, ranks, 2, target, is_bound=is_bound)
    assert finding.has_failed == bool(remedy)
    assert remedy in finding.remedy or finding.status == OK
    assert "num_workers" not in finding.remedy or target != "CPU"  # on CPU workers need no core


@pytest.mark.parametrize(
    ("launch", "environ", "command", "ranks"),
    [
        (Launch(), {}, "bash\0", 1),
        (Launch("mpirun", size=16), {"OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, "", 8),
        (Launch("msrun", size=16), {}, "python3\0-m\0run\0--local_worker_num\0008\0", 8),
        (Launch("msrun", size=16), {}, "msrun\0--worker_num=16\0--local_worker_num=4\0", 4),
        (Launch("msrun", size=16), {}, "msrun\0--worker_num=16\0", 16),
    ],
)
def test_ranks_of_this_machine(launch, environ, command, ranks):
    assert machine.local_size(launch, environ, command) == ranks


@pytest.mark.parametrize(
    ("launcher", "library", "launch", "status"),
    [
        (MPIRUN, LIBRARY, OF_MPIRUN, OK),
        (Answer("", "mpirun (Open MPI) 5.0.3\n"), Answer("", "Open MPI v5.0.3, "), OF_MPIRUN, OK),
        (Answer("", "mpirun (Open MPI) 3.1.6\n"), LIBRARY, OF_MPIRUN, FAILED),
        (Answer("", "mpirun (Open MPI) 5.0.3\n"), LIBRARY, OF_MPIRUN, FAILED),
        (INTEL, LIBRARY, Launch(), SKIPPED),
        (INTEL, LIBRARY, Launch("msrun", size=2), SKIPPED),
        (INTEL, LIBRARY, OF_MPIRUN, FAILED),
        (MPIRUN, Answer("", "MPICH Version: 4.1.2\n"), OF_MPIRUN, FAILED),
        (MPIRUN, Answer("ended with status 1", "RuntimeError: cannot load MPI"), OF_MPIRUN, FAILED),
        (Answer("not found"), LIBRARY, Launch(), SKIPPED),
        (Answer("not found"), LIBRARY, OF_MPIRUN, FAILED),
        (Answer("no answer within 20 s"), LIBRARY, OF_MPIRUN, FAILED),
    ],
)  # fmt: skip
def test_open_mpi(launcher, library, launch, status):
    finding = check_mpi(launcher, library, launch)
    assert finding.status == status
    assert "Intel" in finding.found or launcher is not INTEL


def test_ranks():
    assert machine.check_ranks(OF_MPIRUN, config()).status == OK
    finding = machine.check_ranks(OF_MPIRUN, config(device_num=8))
    assert finding.has_failed and "device_num is 8, but mpirun started 2" in finding.found
    assert machine.check_ranks(Launch(), config()).found == "one process"


def test_files_named_in_the_configuration(shapes, tmp_path):
    assert machine.check_data(config(coco_root=str(shapes), eval_interval=0)).status == OK
    finding = machine.check_data(config(coco_root=str(tmp_path / "nowhere")))
    assert finding.has_failed and "nowhere" in finding.found
    assert machine.check_data(config()).status == SKIPPED  # a default that is not there
    assert machine.check_weights(config()).status == OK
    finding = machine.check_weights(config(pretrained="ckpt/none.ckpt"))
    assert finding.has_failed and "ckpt/none.ckpt: no such file" in finding.found


def test_versions():
    assert check_python((3, 11, 7)).status == OK
    assert check_python((3, 13, 0)).has_failed and check_python((3, 9, 1)).has_failed
    assert check_mindspore("2.10.0").status == OK
    assert check_mindspore("2.1.0").has_failed and check_mindspore(None).has_failed
    assert check_numpy("1.26.4").status == OK
    assert check_numpy("2.0.1").has_failed and "numpy>=1.25,<2" in check_numpy("2.0.1").remedy


def test_the_error_of_a_run_names_the_doctor():
    with pytest.raises(InputError) as error:
        find_cards("GPU")
    (line,) = str(error.value).splitlines()
    assert "MindSpore finds none here: it has not loaded its plugin" in line
    assert "python3 -m src.doctor --device_target=GPU" in line


def test_a_failure_has_its_remedy_on_the_next_line():
    finding = failed("cuDNN", "8.5; H100 needs 8.6 or newer", "install a newer one")
    first, second = finding.lines()
    assert first.split(maxsplit=2) == ["FAILED", "cuDNN", "8.5; H100 needs 8.6 or newer"]
    assert second.strip() == "-> install a newer one"
    long = failed("a name", "word " * 60, "word " * 60).lines()
    assert max(map(len, long)) <= 110
    assert len({line.index("word") for line in long if "->" not in line}) <= 2


def test_the_last_line_names_what_failed():
    findings = [ok("a", ""), failed("b", "", "do"), skipped("c", "b"), failed("d", "", "do")]
    assert summary(findings) == "2 of 3 checks failed: b, d; 1 skipped"
    assert summary(findings[:1]) == "all 1 checks passed"


def test_a_card_of_16_gigabytes_is_too_small_for_the_default_recipe():
    """In float32, as docs say: half the batch, twice; 80 GB are enough."""
    small, large = 16_160 << 20, 81_559 << 20
    found = memory.needed(small, dict(config()))
    finding = memory.check_memory(small, found)
    assert finding.has_failed and finding.remedy.startswith("--batch_size=8 --accumulate=2")
    assert memory.check_memory(large, memory.needed(large, dict(config()))).status == OK
    assert memory.check_memory(0, found).status == SKIPPED
