"""scaling.py: its jobs at toy size, and its prediction against numbers worked out by hand."""

import argparse
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from benchmarks import scaling, scaling_rank, scaling_sums
from benchmarks import scaling_cards as cards
from benchmarks import scaling_prediction as prediction
from benchmarks.updates import configure_update
from src.distributed.ranks import Ranks
from src.runtime.stopwatch import COMPUTE, UPDATE
from tests.conftest import REPOSITORY
from tests.jobs import environment
from tests.printed_rows import FROZEN, NETWORK, read_rows

pytestmark = pytest.mark.usefixtures("narrow")

RANK = """
import sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from src.distributed.launch import find_launch
launch = find_launch()
if not launch.is_scheduler:
    Path({folder!r}, f"{{launch.rank}}_of_{{launch.size}}").touch()
"""


def test_overhead_by_hand():
    # copy, upload of 22.88 MB at 6 and 3 GB/s, calls, bytes, weights, host; in ms
    before = [6 + 3.813 + 478 * 0.021 + 2 + 7 + 6, 6 + 7.627 + 478 * 0.031 + 2 + 10 + 10]
    now = [3.813 + 0.021 + 25 + 7 + 2, 7.627 + 0.031 + 25 + 10 + 5]
    found = cards.overhead(cards.BEFORE, "nvlink")
    assert [1e3 * end for end in found] == pytest.approx(before, abs=0.01)
    assert [1e3 * end for end in cards.overhead(cards.NOW, "pcie")] == pytest.approx(now, abs=0.01)


def test_update_is_compute_and_overhead():
    assert cards.update_seconds("H100 TF32") == pytest.approx((0.15983, 0.19466), abs=1e-4)
    assert cards.update_seconds("H100 TF32", cards.BEFORE) == pytest.approx(
        (0.1799, 0.2204), abs=1e-4
    )


def test_estimate_holds_what_was_measured():
    # without the norm that has been replaced, on one card: nothing goes to other ones
    update, norm = 0.225, 0.064
    low, high = cards.update_seconds("H100 TF32")
    assert low - cards.LINKS["nvlink"] <= update - norm <= high
    measured = cards.row("nvlink")["measured"]["H200 TF32"]
    assert measured["measured_seconds_update"] == update
    assert measured["measured_seconds_replaced_norm"] == norm


def test_sum_by_a_ring():
    found = prediction.reduce_seconds(8, nbytes=80e6, bandwidth=1e9, latency=1e-3)
    assert found == pytest.approx(2 * 7 / 8 * 0.08 + 14 * 1e-3)
    assert prediction.reduce_seconds(1, nbytes=80e6, bandwidth=1e9, latency=1e-3) == 0


def test_efficiency_is_of_the_update_that_is_given():
    parser = argparse.ArgumentParser()
    prediction.add_arguments(parser)
    args = parser.parse_args(["--mbytes=80", "--latency_us=0", "--step_seconds=0.86"])
    assert prediction.predict(args, 8, 1.0) == pytest.approx((0.86 / 1.0, 0.14))
    assert prediction.predict(args, 8, 1.0, 0.14) == pytest.approx((0.5, 0.14))


def test_row_names_each_estimate(capsys, tmp_path):
    scaling.main(["--rows", "prediction", f"--plot={tmp_path}/plot.png"])
    found = json.loads(capsys.readouterr().out)
    assert found["is"] == "a prediction, not measured"
    updates = found["updates"]
    assert updates["is"].startswith("an estimate, not measured")
    assert updates["formula"].startswith("T_update = T_compute + T_upload")
    assert {name.split()[0] for name in updates["cards"]} == {"V100", "A100", "H100"}
    for numbers in updates["measured"].values():
        assert all(name.startswith("measured_") for name in numbers)
    for numbers in updates["cards"].values():
        assert all(name.startswith("estimated_") for name in numbers)
        better, worse = numbers["estimated_seconds"]
        assert numbers["estimated_seconds_compute"][0] < better <= worse
        assert better < numbers["estimated_seconds_before"][0]
        assert set(numbers["estimated_efficiency"]) == {"8", "64", "512"}
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_ratios_and_medians_by_hand(monkeypatch):
    """Three rounds, the third of which is disturbed."""
    rounds = {
        "1 x 2": iter([(0.5, 0), (0.5, 0), (2.5, 0)]),
        "2 x 1 mpirun": iter([(0.8, 200), (0.8, 200), (5.0, 900)]),
    }
    batches = []

    def run(job, work, flags, *, batch_size, **options):
        assert (work, options) == ("updates", {"image_size": 64, "steps": 2})
        batches.append(batch_size)
        return dict(zip(("update_seconds", "reduce_ms"), next(rounds[job.name])))

    monkeypatch.setattr(scaling.Job, "run", run)
    asked = {"image_size": 64, "batch_size": 4, "steps": 2, "rounds": 3}
    row = scaling.compare_ranks(argparse.Namespace(**asked, launchers=["mpirun"], flags=[]))
    assert batches == [4, 2] * 3
    names = ("images_per_second", "ratio_to_one_rank", "reduce_share", "reduce_ms")
    assert {key: row[key] for key in asked} == asked
    assert [row["1 x 2"][name] for name in names] == [8, 1, 0, 0]
    assert [row["2 x 1 mpirun"][name] for name in names] == [5, 0.625, 0.25, 200]


@pytest.mark.parametrize("is_updated", [True, False])
def test_times_are_of_one_update(is_updated, monkeypatch):
    """Of one rank, whose updates have a second of computing and two of updating weights."""
    build, spent = scaling_rank.build_update, {COMPUTE: 1.0, UPDATE: 2.0}

    def build_update(cfg, *, clock, **options):
        def step(batches, lr):
            assert [len(batch.images) for batch in batches] == [2]
            clock.seconds.update({part: clock.seconds[part] + s for part, s in spent.items()})
            return SimpleNamespace(updated=is_updated)

        sound, batches = build(cfg, clock=clock, **options)
        assert sound.clock is clock
        step.sync = sound.sync
        return step, batches

    monkeypatch.setattr(scaling_rank, "build_update", build_update)
    monkeypatch.setattr(scaling_rank, "measure", lambda work: (work(), (12.0, 24.0))[1])
    cfg = configure_update([*NETWORK, FROZEN], image_size=64, batch_size=2)
    if not is_updated:
        with pytest.raises(RuntimeError, match="an update was skipped"):
            scaling_rank.time_updates(cfg, Ranks(), steps=4)
        return
    times = {"forward_backward_ms": 1000, "update_ms": 2000, "other_ranks_ms": 0, "reduce_ms": 0}
    found = scaling_rank.time_updates(cfg, Ranks(), steps=4)
    assert found == {"update_seconds": 3, "cpu_seconds_per_image": 3, **times}


@pytest.mark.mpi
@pytest.mark.parametrize("launcher", scaling.LAUNCHERS)
def test_ranks_of_each_launcher(launcher, tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(RANK.format(repository=str(REPOSITORY), folder=str(tmp_path)))
    command = [*scaling.Job(launcher, 2)._starter(str(tmp_path)), str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.glob("*_of_*")} == {"0_of_2", "1_of_2"}


def test_parts_of_a_sum_are_its_time(monkeypatch):
    class Sum:
        def add_up(self, flat):
            pass

        def __call__(self, numbers, gradients, weight):
            self.add_up(numbers)
            return numbers, []

    call = scaling_sums.build_call(Sum(), 1)
    marks = iter([0, 0.003, 0.007, 0.008])  # start, before and after the transport, end
    monkeypatch.setattr(scaling_sums.time, "perf_counter", lambda: next(marks))
    assert call(())[1] == pytest.approx([0.003, 0.004, 0.001])


@pytest.mark.mpi
def test_sums_alone():
    command = [sys.executable, "benchmarks/scaling.py", "--rows", "reduce", "--launchers", "mpirun"]
    done = subprocess.run([*command, *NETWORK], cwd=REPOSITORY, env=environment(),
                          stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
    row = read_rows(done.stdout)["scaling: reduce"]
    assert row["ranks"] == 2
    found = row["mpirun"]
    assert found["floats"] > 117_000
    assert found["mbytes"] == pytest.approx(4 * found["floats"] / 1e6, rel=0.001)
    assert min(found[part] for part in ("fill_ms", "allreduce_ms", "read_ms")) > 0
    for part in ("call_ms", "bare_allreduce_ms", "copy_ms", "arrays_ms", "sums_norm_ms"):
        assert found[part] > 0


@pytest.mark.parametrize("argument, error", [
    ("--batch_size=3", "expected a multiple of 2"), ("--mbyte=3", "unknown argument '--mbyte=3'"),
])  # fmt: skip
def test_bad_arguments_are_refused(argument, error, capsys):
    with pytest.raises(SystemExit):
        scaling.main([argument])
    assert error in capsys.readouterr().err
