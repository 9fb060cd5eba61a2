"""Training over several ranks as a user starts it: what comes out, and what a failure leaves."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY, small_keys, write_recipe
from tests.jobs import finish, mpirun, run, start
from tests.runs import assert_close, contents, records

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("narrow")]

STEPS = 12  # of the runs that are made to fail
LIMIT = 60  # seconds in which a job has to make a few updates, or to end once told to


@pytest.fixture(scope="module")
def recipe(shapes, tmp_path_factory):
    """A recipe for two ranks that uses everything with a state, but for a backbone that trains."""
    folder = tmp_path_factory.mktemp("jobs")
    keys = {
        **small_keys(shapes, folder),
        "batch_size": 2,
        "accumulate": 2,
        "freeze_backbone_stages": 4,  # half the time to compile
        "ema_decay": 0.9,
        "epoch_size": 4,  # of three updates
        "warmup_epochs": 1,
        "eval_interval": 2,
        "keep_checkpoints": 1,
    }
    return write_recipe(folder / "recipe.yaml", keys)


def launcher(recipe: Path, *options) -> list[str]:
    script = "scripts/run_distribute_train.sh"
    log_dir = recipe.parent / "logs"
    return [
        "bash",
        script,
        "--devices",
        "2",
        f"--config={recipe}",
        f"--log_dir={log_dir}",
        *options,
    ]


@pytest.fixture(scope="module")
def two_hosts(recipe):
    """The folder of a whole run by the launcher, on two machines that are both this one."""
    folder = recipe.parent
    (folder / "hosts").write_text("node-a slots=1\nnode-b slots=1\n")
    command = launcher(recipe, "--hostfile", folder / "hosts", "--", f"--output_path={folder}/two")
    fake = {"OMPI_MCA_plm_rsh_agent": str(REPOSITORY / "tests" / "fake_ssh.sh")}
    loopback = {f"OMPI_MCA_{name}_tcp_if_include": "lo" for name in ("oob", "btl")}
    done = run(command, **fake, **loopback)
    assert done.returncode == 0, done.stdout
    return folder / "two"


def test_launcher_on_two_hosts(two_hosts):
    assert len(records(two_hosts, "step")) == STEPS
    assert len(records(two_hosts, "evaluation")) == 2
    epoch = records(two_hosts, "epoch")[-1]
    assert len(epoch["seconds_by_rank"]) == len(epoch["peak_memory_gb_by_rank"]) == 2
    assert min(epoch["seconds_by_rank"]) > 0
    logs = two_hosts.parent / "logs" / "1"
    assert (logs / "rank.1").is_dir()
    assert "images/s" in (logs / "rank.0" / "stdout").read_text()
    # flags of how a session was started are not the run's
    written = (two_hosts / "config.yaml").read_text()
    assert "run_distribute: false" in written
    assert "device_num: 0" in written


def test_sums_inside_graphs_equal_those_on_the_host(recipe, two_hosts):
    output = recipe.parent / "msrun"
    done = run(launcher(recipe, "--launcher", "msrun", "--", f"--output_path={output}"))
    assert done.returncode == 0, done.stdout
    assert "on 2 ranks (MindSpore's collectives (mccl))" in done.stdout
    assert_close(two_hosts, output)
    assert done.left == []


def command_that_fails(how: str, recipe: Path, *flags: str) -> list[str]:
    """A run in which a rank fails after its fifth update: rank 1, or rank 0, which is slow."""
    output = recipe.parent / how
    common = ["--run_distribute=True", f"--config_path={recipe}", f"--output_path={output}"]
    rank = 0 if how == "dawdle" else 1
    return mpirun(2, "tests/failing_rank.py", how, rank, 5, *common, *flags)


@pytest.fixture(scope="module")
def failed(recipe, two_hosts):
    """A function of how a rank fails: the finished run, made once."""
    flags = {"hang": ["--rank_timeout=3"], "kill": ["--save_minutes=0.00001"]}
    made = {}

    def get(how: str):
        if how not in made:
            made[how] = run(command_that_fails(how, recipe, *flags.get(how, [])))
        return made[how]

    return get


@pytest.mark.parametrize(
    ("how", "status", "expected", "then"),
    [
        ("raise", 1, "rank 1 of 2 failed:\nTraceback (most recent call last):", "a fault of one"),
        ("hang", 1, "Timeout (0:0", " in fail"),
        ("kill", 137, "exited on signal 9", ""),
    ],
)
def test_failed_rank_ends_the_job(failed, how, status, expected, then):
    done = failed(how)
    assert done.returncode == status, done.stdout
    head, found, tail = done.stdout.partition(expected)
    assert found, done.stdout
    assert then in tail
    # what comes before is the run's own log: no other rank had anything to say, unless it waited
    # for the one that hangs, and was faster to notice
    assert "error" not in head or (how == "hang" and "error: rank 0 waited" in head)
    assert "SIGTERM" not in head or how == "kill"
    assert done.left == []


def test_killed_job_resumes_with_the_same_ranks(recipe, two_hosts, failed):
    failed("kill")
    output = recipe.parent / "kill"
    assert 1 <= records(output, "step")[-1]["step"] < STEPS
    flags = [f"--config_path={output}/config.yaml", "--run_distribute=True", "--resume=True"]
    done = run(mpirun(2, "train.py", *flags))
    assert done.returncode == 0, done.stdout
    assert "resumed from" in done.stdout
    for kind in ("step", "evaluation"):
        times = ("images_per_second", "data_share", "seconds")
        one, other = (
            [{k: v for k, v in record.items() if k not in times} for record in records(f, kind)]
            for f in (two_hosts, output)
        )
        assert one == other
    one, other = (contents(folder / "ckpt" / "last.ckpt") for folder in (two_hosts, output))
    for name, value in one.items():
        assert np.array_equal(other[name], value), name


def test_failed_job_resumes_as_one_process(recipe, failed):
    failed("raise")
    output = recipe.parent / "raise"
    last = contents(output / "ckpt" / "last.ckpt")
    flags = [f"--config_path={output}/config.yaml", "--resume=True"]
    done = run(["python3", "train.py", *flags])
    assert done.returncode == 0, done.stdout
    # half the ranks, so twice the updates to an epoch
    assert "an update has 4 images now and had 8, so steps are renumbered" in done.stdout
    assert records(output, "step")[-1]["step"] == 2 * STEPS
    assert [record["epoch"] for record in records(output, "epoch")] == [1, 2, 3, 4]
    assert not np.array_equal(
        contents(output / "ckpt" / "last.ckpt")["class_head.predictor.weight"],
        last["class_head.predictor.weight"],
    )


def wait_for_step(job: subprocess.Popen, output: Path, step: int) -> None:
    """Waits until a run has logged so many updates."""
    deadline = time.monotonic() + LIMIT
    while not (output / "metrics.jsonl").exists() or len(records(output, "step")) < step:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_signal_while_a_rank_is_late_saves_and_exits(recipe, two_hosts):
    job = start(command_that_fails("dawdle", recipe))
    output = recipe.parent / "dawdle"
    try:
        wait_for_step(job, output, 5)
        time.sleep(1)  # the other rank waits by now
        job.send_signal(signal.SIGUSR1)
        out = job.communicate(timeout=LIMIT)[0]
    finally:
        finish(job)
    assert job.returncode == 128 + signal.SIGUSR1, out
    assert "SIGUSR1: saved" in out
    assert "step 6)" in out  # the update that all were at


def test_evaluation_by_two_ranks_equals_that_of_one(recipe, two_hosts):
    flags = [
        f"--config_path={two_hosts}/config.yaml",
        f"--checkpoint_path={two_hosts}/ckpt/best.ckpt",
        "--score_threshold=0",
    ]
    alone, shared = (recipe.parent / name for name in ("alone", "shared"))
    done = run(["python3", "eval.py", *flags, f"--output_path={alone}"])
    assert done.returncode == 0, done.stdout
    done = run(mpirun(2, "eval.py", *flags, f"--output_path={shared}", "--run_distribute=True"))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("protocol coco") == 1
    assert "compiled graph loaded in" in done.stdout  # that of the one rank
    for name in ("detections.json", "report/metrics.json"):
        assert (alone / name).read_bytes() == (shared / name).read_bytes()
    assert len(json.loads((shared / "detections.json").read_text())) > 100


def test_signal_to_the_launcher_saves_and_exits(recipe, two_hosts):
    output = recipe.parent / "stopped"
    job = start(launcher(recipe, "--", f"--output_path={output}", "--epoch_size=200"))
    try:
        wait_for_step(job, output, 3)
        job.send_signal(signal.SIGTERM)
        out = job.communicate(timeout=LIMIT)[0]
    finally:
        finish(job)
    assert job.returncode == 143
    saved = [line for line in out.splitlines() if line.startswith("SIGUSR1: saved")]
    assert len(saved) == 1
    steps = records(output, "step")[-1]["step"]
    assert f"step {steps})" in saved[0]
    assert (output / "ckpt" / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("ranks", "flags", "expected"),
    [
        (3, [], "mpirun started 3 processes, but run_distribute is False"),
        (2, ["--run_distribute=True", "--batch_size=13"], "fewer than a batch of 13 on each of 2"),
    ],
)
def test_contradictions_are_reported_once_at_the_start(recipe, ranks, flags, expected):
    flags = ["--accumulate=1", "--alpha=0.3", *flags]
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
