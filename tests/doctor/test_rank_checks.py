"""Whether the ranks of a job communicate, have a card each, sum exactly and stay equal."""

import pytest

from src.doctor.rank_checks import check_ranks
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import FAILED, OK, SKIPPED

DONE = Answer("")


def rank(host, failures=(), card=""):
    """The facts of a rank."""
    return {"host": host, "failures": list(failures), "card": card}


TOGETHER = {
    "ranks": [rank("a"), rank("b")],
    "transport": "MPI",
    "wrong_sums": [0, 0],
    "sum_seconds": 0.0842,
    "differing": "",
}


def test_all_is_well():
    found = check_ranks(DONE, TOGETHER)
    assert [finding.status for finding in found] == [OK] * 4
    assert found[0].found == "2 ranks on 2 machines"
    assert found[2].found == "133 MB in 84 ms"


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"wrong_sums": [0, 7]}, "sum over ranks", "not exact on ranks [1]"),
        ({"differing": "w differs from rank 0's on [1]"}, "ranks equal", "w differs"),
        (
            {"ranks": [rank("a"), rank("b", [("cuDNN", "8.1")])]},
            "ranks communicate",
            "rank 1: cuDNN: 8.1",
        ),
        (
            {"ranks": [rank("a", card="GPU-1"), rank("a", card="GPU-2"), rank("a", card="GPU-1")]},
            "one card per rank",
            "ranks [0, 2] take the same card",
        ),
    ],
)  # fmt: skip
def test_one_failure(changes, name, text):
    found = check_ranks(DONE, {**TOGETHER, **changes})
    (bad,) = [finding for finding in found if finding.has_failed]
    assert bad.name == name and text in bad.found and bad.remedy


def test_one_card_per_rank():
    """Cards of different machines may have the same name."""
    own = [rank("a", card="GPU-1"), rank("a", card="GPU-2"), rank("b", card="GPU-1")]
    found = {f.name: f.status for f in check_ranks(DONE, {**TOGETHER, "ranks": own})}
    assert found["one card per rank"] == OK
    own.append(rank("b"))  # its card is unknown
    found = {f.name for f in check_ranks(DONE, {**TOGETHER, "ranks": own})}
    assert "one card per rank" not in found


def test_ranks_that_do_not_communicate():
    (finding,) = check_ranks(Answer("no answer within 300 s", "MPI_Init"), None)
    assert finding.has_failed and "no answer within 300 s: MPI_Init" in finding.found
    gone = {"ranks": [rank("a"), rank("a", [("card", "none")])]}
    found = check_ranks(DONE, gone)
    assert [finding.status for finding in found] == [FAILED, SKIPPED]
