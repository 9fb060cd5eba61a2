"""scaling.py: its jobs at toy size, and its prediction against numbers worked out by hand."""

import argparse
import json
import subprocess
import sys

import pytest

from benchmarks import scaling, scaling_sums
from benchmarks import scaling_cards as cards
from benchmarks import scaling_prediction as prediction
from tests.conftest import REPOSITORY
from tests.jobs import environment
from tests.printed_rows import FROZEN, NETWORK, read_rows

pytestmark = pytest.mark.usefixtures("narrow")


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


def scale(*arguments: str) -> dict[str, dict]:
    """What scaling.py prints, its jobs at toy size."""
    command = [sys.executable, "benchmarks/scaling.py", "--image_size=64", "--steps=2",
               "--rounds=1", *arguments, *NETWORK]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE,
                          text=True, check=True)  # fmt: skip
    return read_rows(done.stdout)


@pytest.mark.mpi
def test_whole_updates():
    """By one launcher: both start ranks in the test of sums."""
    row = scale("--rows", "ranks", "--launchers", "mpirun", FROZEN)["scaling: ranks"]
    alone, own = row["1 x 2"], row["2 x 1 mpirun"]
    assert alone["ratio_to_one_rank"] == 1
    assert alone["reduce_ms"] == alone["reduce_share"] == 0
    ratio = own["images_per_second"] / alone["images_per_second"]
    assert own["ratio_to_one_rank"] == pytest.approx(ratio, rel=0.01)
    share = own["reduce_ms"] / own["update_seconds"] / 1000
    assert own["reduce_share"] == pytest.approx(share, rel=0.01)
    assert own["reduce_ms"] > 0 and own["other_ranks_ms"] > 0
    assert own["cpu_seconds_per_image"] > 0


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
    row = scale("--rows", "reduce")["scaling: reduce"]
    assert row["ranks"] == 2
    mpirun, msrun = row["mpirun"], row["msrun"]
    assert mpirun["floats"] == msrun["floats"] > 117_000
    assert mpirun["mbytes"] == pytest.approx(4 * mpirun["floats"] / 1e6, rel=0.001)
    assert min(mpirun[part] for part in ("fill_ms", "allreduce_ms", "read_ms")) > 0
    assert "fill_ms" not in msrun  # all in one graph
    for own in (mpirun, msrun):
        for part in ("call_ms", "bare_allreduce_ms", "copy_ms", "arrays_ms", "sums_norm_ms"):
            assert own[part] > 0


@pytest.mark.parametrize("argument, error", [
    ("--batch_size=3", "expected a multiple of 2"), ("--mbyte=3", "unknown argument '--mbyte=3'"),
])  # fmt: skip
def test_bad_arguments_are_refused(argument, error, capsys):
    with pytest.raises(SystemExit):
        scaling.main([argument])
    assert error in capsys.readouterr().err
