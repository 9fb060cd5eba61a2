"""What ranks report at an epoch's end: the slowest is named, and who has the most memory."""

import json
import resource

import pytest

from src.runtime.stopwatch import COMPUTE, DATA, HOOKS, REDUCE, UPDATE, WAIT, Stopwatch
from src.training.progress import Progress
from src.training.rank_reports import (
    RankReport,
    describe_memory,
    describe_slowest,
    make_report,
    peak_memory,
)
from src.training.run_log import RunLog
from src.training.step_report import StepReport

USUAL = RankReport(data=0.02, compute=1.0, memory=4_000_000_000, host="node1")


def test_waiting_for_others_is_not_a_ranks_own_time():
    parts = {DATA: 2.0, COMPUTE: 7.0, UPDATE: 1.0, WAIT: 50.0, REDUCE: 9.0, HOOKS: 3.0}
    found = make_report(4, parts, 0)
    assert (found.data, found.compute, found.seconds) == (0.5, 2.0, 2.5)


@pytest.mark.parametrize(
    ("slowest", "line"),
    [
        (
            RankReport(0.315, 0.995, 0, "node2"),
            "rank 5 (node2) is the slowest: 1.31 s an update, the median is 1.02; "
            "it waits 24% for data: more --num_workers may help",
        ),
        (
            RankReport(0.02, 1.29, 0, "node2"),
            "rank 5 (node2) is the slowest: 1.31 s an update, the median is 1.02; "
            "it waits 2% for data, and computes longer",
        ),
        (RankReport(0.02, 1.15, 0, "node2"), ""),  # within 15%
    ],
)
def test_the_slowest_rank_is_named(slowest, line):
    assert describe_slowest([USUAL] * 5 + [slowest] + [USUAL] * 2) == line


def test_of_two_ranks_the_faster_is_the_measure():
    line = describe_slowest([RankReport(0, 1.3, 0, "b"), RankReport(0, 1.0, 0, "a")])
    assert line.startswith("rank 0 (b) is the slowest: 1.3 s an update, the median is 1;")
    assert describe_slowest([USUAL]) == ""
    assert describe_slowest([RankReport(0, 0, 0, "a")] * 2) == ""  # nothing was timed


def test_the_most_memory_is_named():
    assert describe_memory([USUAL]) == "at most 4.00 GB of memory so far"
    more = RankReport(0, 1, 5_210_000_000, "node2")
    line = "at most 5.21 GB of memory so far, on rank 1 (node2); least 4.00"
    assert describe_memory([USUAL, more]) == line


def test_memory_of_this_process():
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of a parent too
    assert 10_000_000 < peak_memory("CPU") <= 1.01 * most


def test_an_epochs_record_and_lines(tmp_path):
    asked = []
    keys = {"total_steps": 9, "images_per_step": 8, "log_interval": 1}
    with RunLog(tmp_path) as log:
        log.open()
        progress = Progress(log, **keys, memory=lambda: asked.append(1) or 4_000_000_000)
        assert progress.report().memory == 0 and not asked  # a card's pool is not made before
        progress.start(0)
        report = StepReport(1.0, {}, 1.0, 1.0, 1.0, updated=True, overflow=False)
        for step in (1, 2):
            watch = Stopwatch()
            watch.seconds.update({DATA: 0.5, COMPUTE: 2.0})
            told = progress.update(epoch=1, step=step, lr=0.1, report=report, clock=watch)
        assert told.curves()["train/peak_memory_gb"] == 4.0
        own = progress.report()
        assert (own.data, own.compute, own.memory) == (0.5, 2.0, 4_000_000_000)
        for epoch in (1, 2):
            progress.end_epoch(epoch, 2, 0, [own, RankReport(0.1, 1.0, 10**9, "node2")])
        progress.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert sum("is the slowest: 2.5 s" in line for line in lines) == 2
    assert sum("at most 4.00 GB of memory" in line for line in lines) == 1  # it has not grown
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    epoch = next(record for record in records if record["kind"] == "epoch")
    assert (epoch["peak_memory_gb"], epoch["peak_memory_gb_by_rank"]) == (4.0, [4.0, 1.0])
    assert (epoch["seconds_by_rank"], epoch["data_seconds_by_rank"]) == ([2.5, 1.1], [0.5, 0.1])
