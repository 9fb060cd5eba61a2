"""What scripts/run_distribute_train.sh passes to mpirun, and what is refused at the start."""

import os
from pathlib import Path

import pytest

from tests.conftest import small_keys, write_recipe
from tests.jobs import PROGRAMS, mpirun, run

CORES = len(os.sched_getaffinity(0))
GPU, CPU = "--device_target=GPU", "--device_target=CPU"
POLICY = "OMPI_MCA_hwloc_base_binding_policy"
ON_SOCKETS = "--map-by ppr:4:socket --bind-to socket:overload-allowed"  # of which there are two


def program(folder: Path, name: str, *lines: str) -> None:
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.fixture
def launch(tmp_path):
    """Starts the launcher on a simulated machine; returns what it printed.

    By default it has eight cards, and two sockets that share the cores of this one.
    """

    def start(*options, flags=(GPU,), version="mpirun (Open MPI) 4.1.8", cards=8, **environ):
        program(
            tmp_path,
            "mpirun",
            f'[ "$1" != --version ] || {{ echo "{version}"; exit; }}',
            'echo "OMP_NUM_THREADS=$OMP_NUM_THREADS"',
            'printf "%s " "$@"',
        )
        sockets = (f"echo {cpu},{i % 2}" for i, cpu in enumerate(sorted(os.sched_getaffinity(0))))
        program(tmp_path, "lscpu", "echo '# CPU,Socket'", *sockets)
        program(
            tmp_path, "nvidia-smi", *(f"echo 'GPU {i}: a card (UUID: x)'" for i in range(cards))
        )
        command = ["bash", "scripts/run_distribute_train.sh", "--log_dir", tmp_path / "logs"]
        config = ["--config", "config/ssd_resnet50_fpn_config_gpu.yaml"]
        path = f"{tmp_path}:{PROGRAMS}:{os.environ['PATH']}"
        environ = {"OMP_NUM_THREADS": "", "VIRTUAL_ENV": "x", "PATH": path, **environ}
        return run([*command, *config, *options, "--", *flags], **environ)

    return start


@pytest.mark.parametrize(
    ("name", "is_forwarded"),
    [
        ("CUDA_HOME", True),
        ("CUDA_CACHE_PATH", True),
        ("CUDA_CACHE_MAXSIZE", True),
        ("CUDA_MODULE_LOADING", True),
        ("LD_LIBRARY_PATH", True),
        ("PYTHONPATH", True),
        ("NCCL_SOCKET_IFNAME", True),
        ("HCCL_CONNECT_TIMEOUT", True),
        ("ASCEND_OPP_PATH", True),
        ("ASCEND_TOOLKIT_HOME", True),
        # a scheduler's, for each machine
        ("CUDA_VISIBLE_DEVICES", False),
        ("ASCEND_RT_VISIBLE_DEVICES", False),
        ("MY_CUDA_HOME", False),
    ],
)
def test_variables_for_other_machines(launch, name, is_forwarded):
    done = launch("--devices=2", **{name: os.environ.get(name, "3")})
    assert done.returncode == 0, done.stdout
    assert (f"-x {name} " in done.stdout) == is_forwarded
    assert "-x PATH " in done.stdout


@pytest.mark.parametrize(
    ("version", "log"),
    [
        ("mpirun (Open MPI) 4.1.8", "--output-filename {} --merge-stderr-to-stdout "),
        ("mpirun (Open MPI) 5.0.11", "--output tag,merge "),
    ],
)
def test_logs_of_open_mpi(launch, tmp_path, version, log):
    assert log.format(tmp_path / "logs") in launch("--devices=2", version=version).stdout


def test_another_mpi_is_refused(launch, tmp_path):
    done = launch("--devices=2", version="HYDRA build details:")
    assert done.returncode == 1
    assert f"error: {tmp_path}/mpirun is not of Open MPI 4 or 5" in done.stdout


@pytest.mark.parametrize(
    ("options", "given", "threads", "place"),
    [
        (["--devices=8"], {}, max(1, CORES // 8), ON_SOCKETS),
        (["--devices=8"], {"OMP_NUM_THREADS": "5"}, 5, ON_SOCKETS),
        (["--devices=8"], {POLICY: "core"}, max(1, CORES // 8), ""),
        # fewer ranks than cards take the first cards, all of one socket perhaps
        (["--devices=1"], {}, CORES, "--bind-to none"),
        (["--devices=4"], {}, max(1, CORES // 4), "--bind-to none"),
        (["--devices=8"], {"cards": 0}, max(1, CORES // 8), "--bind-to none"),
        (["--devices=8"], {"flags": [CPU]}, "", "--bind-to none"),
    ],
)
def test_threads_and_sockets(launch, options, given, threads, place):
    done = launch(*options, **given)
    assert done.returncode == 0, done.stdout
    assert f"OMP_NUM_THREADS={threads}\n" in done.stdout
    assert place in done.stdout
    assert ("--bind-to" in done.stdout) == bool(place)
    assert not threads or "-x OMP_NUM_THREADS " in done.stdout


@pytest.mark.parametrize(
    ("lines", "threads", "place"),
    [
        ("a slots=8  # the first\nb slots=8\n", max(1, CORES // 8), ON_SOCKETS),
        ("# two\na slots=4\nb slots=4\n", max(1, CORES // 4), "--bind-to none"),
        ("a\nb\n", "", "--bind-to none"),
    ],
)
def test_ranks_of_each_machine(launch, tmp_path, lines, threads, place):
    (tmp_path / "hosts").write_text(lines)
    done = launch("--devices=16", "--hostfile", tmp_path / "hosts")
    assert done.returncode == 0, done.stdout
    assert f"OMP_NUM_THREADS={threads}\n" in done.stdout
    assert f" {place} " in done.stdout
    assert "--oversubscribe" not in done.stdout


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("ranks", "flags", "expected"),
    [
        (3, [], "mpirun started 3 processes, but run_distribute is False"),
        (2, ["--run_distribute=True", "--batch_size=13"], "fewer than a batch of 13 on each of 2"),
    ],
)
def test_contradictions_are_reported_once_at_the_start(shapes, tmp_path, ranks, flags, expected):
    recipe = write_recipe(tmp_path / "recipe.yaml", small_keys(shapes, tmp_path))
    flags = ["--alpha=0.3", *flags]
    done = run(mpirun(ranks, "train.py", f"--config_path={recipe}", *flags))
    assert done.returncode == 2, done.stdout
    assert done.stdout.count("--alpha is now --focal_alpha") == 1
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert expected in errors[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--config=x.yaml"], "--devices is needed"),
        (["--devices=0", "--config=x.yaml"], "--devices is '0'"),
        (["--devices=2", "--config=x.yaml", "--lr=1"], "flags of train.py come after --"),
        (["--devices=2", "--config=x.yaml", "--launcher=ssh"], "--launcher is 'ssh'"),
        (["--devices=2", "--config=x.yaml", "--hostfile=no"], "no: no such file"),
        (["--devices"], "--devices needs a value"),
    ],
)
def test_errors_of_the_launcher(options, expected):
    done = run(["bash", "scripts/run_distribute_train.sh", *options])
    assert done.returncode == 2
    assert expected in done.stdout
    assert "usage: " in done.stdout
