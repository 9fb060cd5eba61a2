"""learning.py: curves of both sides at toy size, and what it concludes from them."""

import json
import subprocess
import sys

import pytest

from benchmarks import learning, learning_peer
from benchmarks.common import configure
from src.training.schedule import build_schedule
from tests.conftest import REPOSITORY
from tests.printed_rows import LADDER


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_learning(run_script, peer, tmp_path, monkeypatch):
    flags = ["--backbones", "resnet18", "--updates=4", "--peer_updates", "2", "4", "--rates", "0.1",
             "0.2", f"--peer={peer}", f"--folder={tmp_path}", "--lr=0.002", *LADDER]  # fmt: skip
    rows = run_script(learning, *flags)
    ours = {name: row for name, row in rows.items() if name.startswith("resnet18 ours")}
    assert list(ours) == [f"resnet18 ours 4 0.002 at {update}" for update in (2, 4)]
    first, last = (row["cpu_seconds"] for row in ours.values())
    assert 1 < first <= last  # the second epoch may take less than a tick
    assert rows["best resnet18 peer"] == {
        "lr": 0.2, "updates": 4, "cpu_seconds": 4000.0, "AP": 0.8, "AP50": 0, "AP75": 0
    }  # fmt: skip
    summary = rows["learning resnet18"]
    assert summary["best_AP_of_peer"] == 0.8
    assert summary["cpu_seconds_to_best_AP_of_peer"] == {"ours": None, "peer": 4000.0}
    assert summary["ratio"] is None
    assert (tmp_path / "learning.png").read_bytes().startswith(b"\x89PNG")
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    # else a run would be written into the user's folder
    assert not any("--output_path" in str(flag) for row in written for flag in row["flags"])
    # continued, it runs nothing again; another recipe's runs are others
    monkeypatch.setattr(learning, "train", None)
    assert run_script(learning, *flags) == rows
    with pytest.raises(TypeError):
        run_script(learning, *flags, "--lr=0.003")


def test_seconds_to_the_peers_best():
    def side(*pairs):
        return [{"cpu_seconds": seconds, "AP": ap} for seconds, ap in pairs]

    ours = side((10.0, 0.1), (20.0, 0.3), (30.0, 0.5))
    row = learning.compare(ours, side((50.0, 0.2), (100.0, 0.3), (200.0, 0.25)))
    assert row["cpu_seconds_to_best_AP_of_peer"] == {"ours": 20.0, "peer": 100.0}
    assert row["cpu_seconds_to_best_AP_of_ours"] == {"ours": 30.0, "peer": None}
    assert (row["best_AP_of_peer"], row["best_AP_of_ours"], row["ratio"]) == (0.3, 0.5, 0.2)


def test_which_runs_of_the_peer_count():
    def row(updates, lr, *aps):
        points = [{"AP": ap, "cpu_seconds": 100 * lr + n} for n, ap in enumerate(aps)]
        return {"updates": updates, "lr": lr, "points": points}

    runs = [row(4, 0.1, 0.2, 0.3), row(4, 0.2, 0.1, 0.4), row(4, 0.3, 0.9, 0.3), row(2, 0.1, 0.2)]
    assert learning.best_runs(runs) == [runs[1], runs[3]]
    assert [point["AP"] for point in learning.points_of(runs)] == [0.2, 0.1, 0.4]


def test_cpu_seconds_of_a_run_include_its_workers():
    program = f"""
import subprocess, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from benchmarks.learning_ours import tree_cpu_seconds
work = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", work])
print(tree_cpu_seconds() - time.process_time())
with subprocess.Popen([sys.executable, "-c", work + "\\nprint(flush=True); input()"],
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
    process.stdout.readline()
    print(tree_cpu_seconds() - time.process_time())
    process.communicate(b"\\n")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ended, running = map(float, done.stdout.split())
    assert 0.25 < ended < 1  # ticks of 0.01 s
    assert 0.55 < running < 2


def test_schedule_of_the_peer_has_the_form_of_ours():
    cfg = configure([], lr=1.0, warmup_ratio=0.01, warmup_epochs=0.4, epoch_size=4)
    schedule = build_schedule(cfg, 100, images_per_step=8)
    ours = [schedule(update) for update in range(400)]
    assert [learning_peer.rate_factor(update, 400) for update in range(400)] == pytest.approx(ours)
