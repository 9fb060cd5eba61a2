"""The prediction of scaling: its formulas against numbers worked out by hand."""

import argparse
import importlib
import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """scaling_cards and scaling_prediction."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return [importlib.import_module(name) for name in ("scaling_cards", "scaling_prediction")]


def test_overhead_by_hand(modules):
    cards, _ = modules
    # copy, upload of 22.88 MB at 6 and 3 GB/s, calls, bytes, weights, host; in ms
    before = [6 + 3.813 + 478 * 0.021 + 2 + 7 + 6, 6 + 7.627 + 478 * 0.031 + 2 + 10 + 10]
    now = [3.813 + 0.021 + 25 + 7 + 2, 7.627 + 0.031 + 25 + 10 + 5]
    found = cards.overhead(cards.BEFORE, "nvlink")
    assert [1e3 * end for end in found] == pytest.approx(before, abs=0.01)
    assert [1e3 * end for end in cards.overhead(cards.NOW, "pcie")] == pytest.approx(now, abs=0.01)


def test_update_is_compute_and_overhead(modules):
    cards, _ = modules
    assert cards.update_seconds("H100 TF32") == pytest.approx((0.15983, 0.19466), abs=1e-4)
    assert cards.update_seconds("H100 TF32", cards.BEFORE) == pytest.approx(
        (0.1799, 0.2204), abs=1e-4
    )


def test_estimate_holds_what_was_measured(modules):
    cards, _ = modules
    # without the norm that has been replaced, on one card: nothing goes to other ones
    update, norm = 0.225, 0.064
    low, high = cards.update_seconds("H100 TF32")
    assert low - cards.LINKS["nvlink"] <= update - norm <= high
    measured = cards.row("nvlink")["measured"]["H200 TF32"]
    assert measured["measured_seconds_update"] == update
    assert measured["measured_seconds_replaced_norm"] == norm


def test_sum_by_a_ring(modules):
    _, prediction = modules
    found = prediction.reduce_seconds(8, nbytes=80e6, bandwidth=1e9, latency=1e-3)
    assert found == pytest.approx(2 * 7 / 8 * 0.08 + 14 * 1e-3)
    assert prediction.reduce_seconds(1, nbytes=80e6, bandwidth=1e9, latency=1e-3) == 0


def test_efficiency_is_of_the_update_that_is_given(modules):
    _, prediction = modules
    parser = argparse.ArgumentParser()
    prediction.add_arguments(parser)
    args = parser.parse_args(["--mbytes=80", "--latency_us=0", "--step_seconds=0.86"])
    assert prediction.predict(args, 8, 1.0) == pytest.approx((0.86 / 1.0, 0.14))
    assert prediction.predict(args, 8, 1.0, 0.14) == pytest.approx((0.5, 0.14))


def test_row_names_each_estimate(tmp_path):
    command = [sys.executable, "scaling.py", "--rows", "prediction", f"--plot={tmp_path}/plot.png"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
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
