"""What ranks under mpirun do together, against NumPy and one process."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from src.config.command_line import parse_args
from src.data.dataset import build_annotations
from src.training.run_log import RunLog
from src.training.setup import build_trainer
from tests.conftest import small_keys, write_recipe
from tests.jobs import mpirun, run
from tests.rank import UPDATES
from tests.runs import assert_close, records

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("narrow")]

RANKS = 3
COMPARED_UPDATES = 5
# as in the documentation, with a recipe of a few seconds
COMMAND = """
mpirun -allow-run-as-root -n 2 --output-filename {folder}/log_output --merge-stderr-to-stdout \
python3 train.py --run_distribute=True --lr=0.05 --dataset=coco --device_num=2 --loss_scale=1 \
--device_target="CPU" --epoch_size=60 --config_path={recipe} --output_path '{folder}/output' \
> {folder}/log.txt 2>&1 & wait $!
"""


@pytest.fixture(scope="module")
def job(shapes, tmp_path_factory):
    """The folder with the results of three ranks of rank.py."""
    folder = tmp_path_factory.mktemp("ranks")
    keys = {
        **small_keys(shapes, folder),
        "batch_size": 1,
        "ema_decay": 0.9,
        "epoch_size": 20,  # of eight updates
        "callbacks": ["tests/rank.py:Enough"],
        "eval_interval": 0,
        "num_workers": 0,
        "log_interval": 5,
        "score_threshold": 0,
    }
    recipe = write_recipe(folder / "recipe.yaml", keys)
    done = run(mpirun(RANKS, "tests/rank.py", folder, f"--config_path={recipe}"))
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def found(job):
    """The results of each rank."""
    return [json.loads((job / f"found_{rank}.json").read_text()) for rank in range(RANKS)]


def arrays(job, kind):
    return [np.load(job / f"{kind}_{rank}.npz") for rank in range(RANKS)]


def test_messages_arrive(found):
    everyone = [{"rank": rank, "text": "x" * 3**rank} for rank in range(RANKS)]
    for rank in range(RANKS):
        assert found[rank]["gather"] == everyone
        assert found[rank]["gather_to_main"] == ([[0], [1], [2]] if rank == 0 else [])
        assert found[rank]["from_main"] == ["of rank", 0]
        assert found[rank]["on_main"] == "done by 0"


def test_gradients_are_added_up_and_statistics_averaged(job):
    rngs = [np.random.default_rng(rank) for rank in range(RANKS)]
    own = [[rng.normal(size=(3, 5)), rng.normal(size=4)] for rng in rngs]
    for sums in arrays(job, "sums"):
        assert sums["numbers"].tolist() == [1 + 2 + 3, -RANKS]
        for i in range(2):
            expected = sum((rank + 1) * own[rank][i] for rank in range(RANKS))
            np.testing.assert_allclose(sums[f"sum{i}"], expected, rtol=1e-5, atol=1e-6)
            assert np.array_equal(sums[f"broadcast{i}"], own[0][i].astype(np.float32))
        mean = sum(own[rank][1] for rank in range(RANKS)) / RANKS
        np.testing.assert_allclose(sums["statistic"], mean, rtol=1e-5)


def test_parameters_are_the_same_on_all_ranks_to_the_last_bit(job):
    first, *others = arrays(job, "parameters")
    kinds = ("backbone.bn1.moving_mean", "ema.backbone.bn1.moving_variance", "optimizer.adam_v")
    for kind in kinds:
        assert any(name.startswith(kind) for name in first), kind
    for other in others:
        assert set(first) == set(other)
        for name in first:
            assert first[name].tobytes() == other[name].tobytes(), name
    text = (job / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in text][-1] == UPDATES


def test_loss_is_that_of_the_job(job):
    lines = (job / "metrics.jsonl").read_text().splitlines()
    steps = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    # the loss is the job's: it falls, and each rank's log tells the same one
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    shown = [
        [line.partition("  lr ")[0][20:] for line in path.read_text().splitlines() if "lr " in line]
        for path in (job / "log.txt", job / "ranks" / "rank_1.txt", job / "ranks" / "rank_2.txt")
    ]
    assert len(shown[0]) == UPDATES // 5
    assert shown[0] == shown[1] == shown[2]


def test_a_callback_of_one_rank_ends_the_run_on_all(job):
    assert len(records(job, "step")) == UPDATES // 5  # of 160 updates
    said = "callback tests/rank.py:Enough: 20 are enough: the run ends early"
    for path in (job / "log.txt", job / "ranks" / "rank_1.txt", job / "ranks" / "rank_2.txt"):
        assert path.read_text().count(said) == 1


def test_detections_are_those_of_one_process(found):
    assert len(found[0]["shared"]) > 100
    assert found[0]["shared"] == found[0]["alone"]
    assert found[0]["shared_losses"] == found[0]["alone_losses"]
    assert found[0]["shared_losses"]["loss"] > 0
    assert len({row[0] for row in found[0]["shared"]}) == 10
    assert found[1]["shared"] == found[2]["shared"] == []
    assert found[1]["alone"] == found[0]["alone"]


def test_one_differing_bit_ends_the_run_on_all_ranks(found):
    expected = "backbone.conv1.weight is not the same on all ranks: it differs from rank 0's on [1]"
    assert [rank["differing"].partition(";")[0] for rank in found] == [expected] * RANKS


def test_cores_are_shared(found):
    cores = len(os.sched_getaffinity(0))
    assert [rank["cores"] for rank in found] == [max(1, cores // RANKS)] * RANKS


def train_here(cfg, folder: Path) -> None:
    """A run in this process alone."""
    folder.mkdir()
    log = RunLog(folder)
    log.open()
    trainer = build_trainer(cfg, build_annotations(cfg, training=True), log=log)
    trainer.run()
    log.close()


def test_two_ranks_by_the_documented_command_equal_one_process(shapes, tmp_path):
    keys = {
        **small_keys(shapes, tmp_path),
        "freeze_norms": "all",
        "freeze_backbone_stages": 3,
        "optimizer": "momentum",
        "batch_size": 4,
        "max_steps": COMPARED_UPDATES,
        "num_workers": 0,
    }
    recipe = write_recipe(tmp_path / "recipe.yaml", keys)
    command = COMMAND.format(folder=tmp_path, recipe=recipe)
    done = run(["bash", "-c", command])
    log = (tmp_path / "log.txt").read_text()
    assert done.returncode == 0, log
    assert "8 images per update on 2 ranks (MPI, gradients by host buffers)" in log
    assert log.count("done, best AP") == 1  # the other ranks are silent
    output = tmp_path / "output"
    assert {"last.ckpt", "best.ckpt"} <= {path.name for path in (output / "ckpt").iterdir()}
    assert len(list((output / "ranks").iterdir())) == 1
    assert len(list(tmp_path.glob("log_output/1/rank.*/stdout"))) == 2

    flags = ["--batch_size=8", "--epoch_size=60", "--lr=0.05", "--eval_interval=0"]
    train_here(parse_args("", [f"--config_path={recipe}", *flags]), tmp_path / "one")
    assert_close(tmp_path / "one", output)
    start = records(output, "step")[0]["loss"]
    assert abs(records(output, "step")[-1]["loss"] - start) > 1e-3 * start
