"""Training over several ranks as a user starts it: what comes out, and what a failure leaves."""

import json
import os
import signal
import subprocess
import time
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest

from tests import late_rank
from tests.conftest import REPOSITORY, small_keys, write_recipe
from tests.jobs import finish, mpirun, run, start
from tests.programs import call
from tests.rank import IMAGES, UPDATES
from tests.runs import assert_close, contents, records

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("narrow")]

RANKS = 2
STEPS = UPDATES  # of each run that nothing stops
STATISTICS = ("moving_mean", "moving_variance")  # of norms, ends of their names
LIMIT = 60  # seconds in which a job has to make a few updates, or to end once told to
# as in the documentation; the flags repeat the recipe's values, which may not change within a run
DOCUMENTED = """
mpirun -allow-run-as-root -n 2 --output-filename {run}/log_output --merge-stderr-to-stdout \
python3 train.py --run_distribute=True --lr=0.05 --dataset=coco --device_num=2 --loss_scale=1 \
--device_target="CPU" --epoch_size=5 --config_path={run}/config.yaml --output_path '{run}' \
--resume=True > {run}/printed.txt 2>&1 & wait $!
"""


@pytest.fixture(scope="module")
def recipe(shapes, tmp_path_factory):
    """A recipe for two ranks that uses everything with a state, but for a backbone that trains."""
    folder = tmp_path_factory.mktemp("jobs")
    keys = {
        **small_keys(shapes, folder),
        "batch_size": 2,
        "accumulate": 2,
        # half the time to compile
        "freeze_backbone_stages": 4,
        "head_depth": 0,
        "optimizer": "momentum",  # to which, unlike Adam, the scale of the gradients matters
        "lr": 0.05,
        "ema_decay": 0.9,
        "epoch_size": 5,  # of three updates
        "max_steps": STEPS,
        "warmup_epochs": 1,
        "eval_interval": 2,
        "keep_checkpoints": 1,
        "score_threshold": 0,
    }
    return write_recipe(folder / "recipe.yaml", keys)


def launcher(recipe: Path, *options) -> list[str]:
    own = ["--devices", "2", f"--config={recipe}", f"--log_dir={recipe.parent / 'logs'}"]
    return ["bash", "scripts/run_distribute_train.sh", *own, *options]


@pytest.fixture(scope="module")
def two_hosts(recipe):
    """The folder of a whole run by the launcher, on two machines that are both this one."""
    folder = recipe.parent
    (folder / "hosts").write_text("node-a slots=1\nnode-b slots=1\n")
    # a rank's callback ends it after as many updates as max_steps is of the others
    flags = [f"--output_path={folder}/two", "--max_steps=0", "--callbacks=[tests/rank.py:Rank]"]
    command = launcher(recipe, "--hostfile", folder / "hosts", "--", *flags)
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


@pytest.fixture(scope="module")
def found(two_hosts):
    """What each rank found."""
    files = [two_hosts.parent / f"found_{rank}.json" for rank in range(RANKS)]
    return [json.loads(file.read_text()) for file in files]


def arrays(run_folder: Path, kind: str):
    return [np.load(run_folder.parent / f"{kind}_{rank}.npz") for rank in range(RANKS)]


def test_messages_arrive(found):
    everyone = [{"rank": 0, "text": "x"}, {"rank": 1, "text": "xxx"}]
    for rank in range(RANKS):
        assert found[rank]["gather"] == everyone
        assert found[rank]["gather_to_main"] == ([[0], [1]] if rank == 0 else [])
        assert found[rank]["from_main"] == ["of rank", 0]
        assert found[rank]["on_main"] == "done by 0"


def test_gradients_are_added_up_and_statistics_averaged(two_hosts):
    rngs = [np.random.default_rng(rank) for rank in range(RANKS)]
    own = [[rng.normal(size=(3, 5)), rng.normal(size=4)] for rng in rngs]
    for sums in arrays(two_hosts, "sums"):
        assert sums["numbers"].tolist() == [1 + 2, -RANKS]
        for i in range(2):
            expected = own[0][i] + 2 * own[1][i]
            np.testing.assert_allclose(sums[f"sum{i}"], expected, rtol=1e-5, atol=1e-6)
            assert np.array_equal(sums[f"broadcast{i}"], own[0][i].astype(np.float32))
        mean = (own[0][1] + own[1][1]) / RANKS
        np.testing.assert_allclose(sums["statistic"], mean, rtol=1e-5)


def test_parameters_are_the_same_on_all_ranks_to_the_last_bit(two_hosts):
    first, other = arrays(two_hosts, "parameters")
    assert set(first) == set(other)
    for name in first:
        assert first[name].tobytes() == other[name].tobytes(), name
    trained = [name for name in first if "backbone" not in name]
    for kind in ("", "ema.", "optimizer."):
        assert any(name.startswith(kind) for name in trained), kind
    for statistic in STATISTICS:
        assert any(name.endswith(statistic) for name in trained), statistic


def test_loss_is_that_of_the_job(two_hosts):
    steps = records(two_hosts, "step")
    # it falls, and each rank's log tells the same one
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    main, other = (
        [line.partition("  lr ")[0][20:] for line in path.read_text().splitlines() if "lr " in line]
        for path in (two_hosts / "log.txt", two_hosts / "ranks" / "rank_1.txt")
    )
    assert len(main) == STEPS
    assert main == other


def test_a_callback_of_one_rank_ends_the_run_on_all(two_hosts):
    assert len(records(two_hosts, "step")) == STEPS  # of 15
    said = "callback tests/rank.py:Rank: 12 are enough: the run ends early"
    for path in (two_hosts / "log.txt", two_hosts / "ranks" / "rank_1.txt"):
        assert path.read_text().count(said) == 1


def test_detections_are_those_of_one_process(found):
    assert len(found[0]["shared"]) > 100
    assert found[0]["shared"] == found[0]["alone"]
    assert found[0]["shared_losses"] == found[0]["alone_losses"]
    assert found[0]["shared_losses"]["loss"] > 0
    assert len({row[0] for row in found[0]["shared"]}) == IMAGES
    assert found[1]["shared"] == []
    assert found[1]["alone"] == found[0]["alone"]


def test_one_differing_bit_ends_the_run_on_all_ranks(found):
    expected = "is not the same on all ranks: it differs from rank 0's on [1]"
    for rank in found:
        name, _, text = rank["differing"].partition(";")[0].partition(" ")
        assert (name.split(".")[0], text) == ("fpn", expected)


def test_cores_are_shared(found):
    cores = len(os.sched_getaffinity(0))
    assert [rank["cores"] for rank in found] == [max(1, cores // RANKS)] * RANKS


def test_sums_inside_graphs_equal_those_on_the_host(recipe, two_hosts):
    output = recipe.parent / "msrun"
    flags = [f"--output_path={output}", "--eval_interval=0"]  # whose graph has no sums
    done = run(launcher(recipe, "--launcher", "msrun", "--", *flags))
    assert done.returncode == 0, done.stdout
    assert "on 2 ranks (MindSpore's collectives (mccl))" in done.stdout
    assert_close(two_hosts, output)
    assert done.left == []


def command_that_fails(how: str, recipe: Path, *flags: str) -> list[str]:
    """A run in which rank 1 fails after its fifth update."""
    output = recipe.parent / how
    common = ["--run_distribute=True", f"--config_path={recipe}", f"--output_path={output}"]
    return mpirun(2, "tests/failing_rank.py", how, 1, 5, *common, *flags)


@pytest.fixture(scope="module")
def failed(recipe, two_hosts):
    """A function of how a rank fails: the finished run, made once."""
    flags = {"hang": ["--rank_timeout=3", "--num_workers=0"], "kill": ["--save_minutes=0.00001"]}
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


def test_killed_job_resumes_by_the_documented_command(recipe, two_hosts, failed):
    failed("kill")
    output = recipe.parent / "kill"
    assert 1 <= records(output, "step")[-1]["step"] < STEPS
    done = run(["bash", "-c", DOCUMENTED.format(run=output)])
    printed = (output / "printed.txt").read_text()
    assert done.returncode == 0, printed
    assert "8 images per update on 2 ranks (MPI, gradients by host buffers)" in printed
    assert "resumed from" in printed
    assert printed.count("done, best AP") == 1  # the other rank is silent
    assert len(list((output / "ranks").iterdir())) == 1
    assert len(list(output.glob("log_output/1/rank.*/stdout"))) == 2
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


def test_failed_job_resumed_as_one_process_equals_that_of_two_ranks(recipe, two_hosts, failed):
    failed("raise")
    output = recipe.parent / "raise"
    assert records(output, "step")[-1]["step"] == 5
    last = output / "ckpt" / "last.ckpt"
    before = contents(last)
    # as many batches an update, each with norms of its own, as the ranks had together
    flags = [f"--config_path={output}/config.yaml", "--resume=True", "--accumulate=4"]
    printed = call("train", *flags, "--eval_interval=0", "--compile_cache=False")
    assert "resumed from" in printed
    assert [record["epoch"] for record in records(output, "epoch")] == [1, 2, 3, 4]
    assert_close(two_hosts, output, but=STATISTICS)  # the means of all ranks' there
    name = "class_head.predictor.weight"
    assert np.abs(contents(last)[name] - before[name]).max() > 1e-3


def wait_for_step(job: subprocess.Popen, output: Path, step: int) -> None:
    """Waits until a run has logged so many updates."""
    deadline = time.monotonic() + LIMIT
    while not (output / "metrics.jsonl").exists() or len(records(output, "step")) < step:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_signal_to_the_launcher_while_a_rank_is_late_saves_and_exits(recipe, two_hosts):
    output = recipe.parent / "stopped"
    flags = [f"--output_path={output}", "--callbacks=[tests/late_rank.py:Late]"]
    job = start(launcher(recipe, "--", *flags))
    try:
        wait_for_step(job, output, late_rank.STEP)
        time.sleep(1)  # the other rank waits by now
        job.send_signal(signal.SIGTERM)
        out = job.communicate(timeout=LIMIT)[0]
    finally:
        finish(job)
    assert job.returncode == 128 + signal.SIGTERM, out
    saved = [line for line in out.splitlines() if line.startswith("SIGUSR1: saved")]
    assert len(saved) == 1
    # the update that all were at
    assert records(output, "step")[-1]["step"] == late_rank.STEP + 1
    assert f"step {late_rank.STEP + 1})" in saved[0]
    assert (output / "ckpt" / "last.ckpt").is_file()


def test_evaluation_by_two_ranks_is_that_of_the_run(recipe, two_hosts):
    output = recipe.parent / "evaluation"
    best = max(records(two_hosts, "evaluation"), key=itemgetter("AP"))
    flags = [f"--config_path={recipe}", f"--checkpoint_path={two_hosts}/ckpt/best.ckpt"]
    flags += [f"--output_path={output}", "--report=False", "--run_distribute=True"]
    done = run(mpirun(2, "eval.py", *flags))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("protocol coco") == 1
    metrics = json.loads((output / "report" / "metrics.json").read_text())
    assert metrics["overall"]["AP"] == pytest.approx(best["AP"], rel=1e-6)
    assert metrics["losses"] == pytest.approx({k: best[k] for k in metrics["losses"]}, rel=1e-6)
    rows = json.loads((output / "detections.json").read_text())
    assert len({row["image_id"] for row in rows}) == 10
    assert done.left == []
