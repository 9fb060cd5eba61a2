"""Whether numbers of updates and sums pass, and how it is told where they do not."""

import pytest

from src.doctor import comparison
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import FAILED, OK, SKIPPED

DONE = Answer("")
MOMENTUM, ADAMW = ("momentum", "float32"), ("adamw", "float32")
HALF = ("momentum", "float16")
CPU = {"loss": 2.0, "norm": 0.5, "after": 1.9975, "rate": 1e-2}


def updated(case=MOMENTUM, **changes):
    """An update as a trial tells it."""
    return {"optimizer": case[0], "precision": case[1], **CPU, **changes}


def check(case, own, expected=None):
    """The finding on one update, compared with the CPU's where one is given."""
    wanted = None if expected is None else {"updates": [expected]}
    (finding,) = comparison.check_updates([case], DONE, {"updates": [own]}, wanted)
    return finding


@pytest.mark.parametrize(
    ("case", "changes", "status"),
    [
        (MOMENTUM, {}, OK),
        (MOMENTUM, {"loss": 2.001, "norm": 0.4999, "after": 1.9984}, OK),
        (MOMENTUM, {"loss": 2.003}, FAILED),
        (MOMENTUM, {"norm": 0.501}, FAILED),
        (MOMENTUM, {"after": 2.01}, FAILED),
        (MOMENTUM, {"after": 2.0}, FAILED),  # an update that does nothing
        (ADAMW, {"after": 2.0}, FAILED),
        (HALF, {"after": 2.0}, FAILED),
        (MOMENTUM, {"after": 1.99875}, FAILED),  # half an update
        (HALF, {"after": 1.99875}, FAILED),
        (MOMENTUM, {"after": 1.9977}, OK),
        (MOMENTUM, {"after": 1.9979}, FAILED),
        (HALF, {"after": 1.9979}, OK),
        (MOMENTUM, {"after": None}, FAILED),
        (MOMENTUM, {"loss": 0.0, "norm": 0.0, "after": 0.0}, FAILED),
        (MOMENTUM, {"norm": None}, FAILED),  # what is not finite is null in json
        (HALF, {"loss": 2.01, "norm": 0.504, "after": 2.0075}, OK),
        (HALF, {"norm": 0.51}, FAILED),
    ],
)
def test_a_card_is_compared_with_the_cpu(case, changes, status):
    finding = check(case, updated(case, **changes), updated((case[0], "float32")))
    assert finding.status == status
    assert bool(finding.remedy) == (status == FAILED)


def test_the_number_that_differs_most_is_told():
    finding = check(MOMENTUM, updated(norm=0.25, loss=2.1), updated())
    assert "gradient norm 0.25, on the CPU 0.5" in finding.found
    assert "nan or infinite" in check(MOMENTUM, updated(loss=None), updated()).found


@pytest.mark.parametrize(
    ("case", "after", "status"),
    [
        (MOMENTUM, 1.9975, OK),  # 1e-2 x 0.5^2 less
        (MOMENTUM, 1.995, FAILED),
        (MOMENTUM, 1.99875, FAILED),
        (MOMENTUM, 2.0, FAILED),
        (ADAMW, 1.99, OK),
        (ADAMW, 2.0, FAILED),
        (MOMENTUM, None, FAILED),
    ],
)
def test_a_cpus_loss_falls_as_the_gradients_say(case, after, status):
    assert check(case, updated(case, after=after)).status == status


def test_a_crash_is_told_and_what_comes_after_it_is_skipped():
    asked = [MOMENTUM, ADAMW, HALF]
    said = "compiling\nFatal Python error: Floating point exception\n\nThread 1:\n  File x\n"
    crashed = Answer("ended by SIGFPE", said)
    done = {"updates": [updated()]}
    found = comparison.check_updates(asked, crashed, done, {"updates": [updated()]})
    assert [finding.status for finding in found] == [OK, FAILED, SKIPPED]
    assert found[1].found.endswith("ended by SIGFPE: Fatal Python error: Floating point exception")
    found = comparison.check_updates(asked, Answer("no answer within 1800 s"), None, None)
    assert [finding.status for finding in found] == [FAILED, SKIPPED, SKIPPED]


def test_the_error_is_found_in_what_mindspore_prints_around_it():
    said = (
        "Traceback (most recent call last):\n  File x, line 1\nRuntimeError:\n---\n"
        "Graph cycle exists\n----\n- C++ Call Stack:\n----\nframe.cc:98 DoJump\n"
    )
    assert Answer("", said).reason == "RuntimeError: Graph cycle exists"
    assert Answer("", "nothing of that kind\n").reason == "nothing of that kind"
    assert Answer("").reason == "no output"


def test_an_error_of_mindspore_is_shown():
    own = {"optimizer": "momentum", "precision": "float32", "error": "RuntimeError: Graph cycle"}
    finding = check(MOMENTUM, own, updated())
    assert finding.has_failed and "Graph cycle" in finding.found


def test_a_card_without_the_cpu_to_compare_with_does_not_pass():
    (finding,) = comparison.check_updates([MOMENTUM], DONE, {"updates": [updated()]}, {})
    assert finding.has_failed and "it did not end" in finding.found
    own = {"optimizer": "momentum", "precision": "float32", "error": "RuntimeError: no"}
    finding = check(MOMENTUM, updated(), own)
    assert finding.has_failed and "RuntimeError: no" in finding.found


def rank(host, failures=(), card=""):
    """What a rank tells of itself."""
    return {"host": host, "failures": list(failures), "card": card}


TOGETHER = {
    "ranks": [rank("a"), rank("b")],
    "transport": "MPI",
    "wrong_sums": [0, 0],
    "sum_seconds": 0.0842,
    "differing": "",
}


def test_what_ranks_find_together():
    found = comparison.check_ranks(DONE, TOGETHER)
    assert [finding.status for finding in found] == [OK] * 4
    assert found[0].found == "2 ranks on 2 machines"
    assert found[2].found == "133 MB in 84 ms"


@pytest.mark.parametrize(
    ("changes", "name", "told"),
    [
        ({"wrong_sums": [0, 7]}, "sum over ranks", "not exact on ranks [1]"),
        ({"differing": "w differs from rank 0's on [1]"}, "ranks equal", "w differs"),
        (
            {"ranks": [rank("a"), rank("b", [("cuDNN", "8.1")])]},
            "ranks meet",
            "rank 1: cuDNN: 8.1",
        ),
        (
            {"ranks": [rank("a", card="GPU-1"), rank("a", card="GPU-2"), rank("a", card="GPU-1")]},
            "a card each",
            "ranks [0, 2] take the same card",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_between_ranks(changes, name, told):
    found = comparison.check_ranks(DONE, {**TOGETHER, **changes})
    (bad,) = [finding for finding in found if finding.has_failed]
    assert bad.name == name and told in bad.found and bad.remedy


def test_ranks_with_a_card_each():
    """Card 0 of one machine is none of another's."""
    own = [rank("a", card="GPU-1"), rank("a", card="GPU-2"), rank("b", card="GPU-1")]
    found = {f.name: f.status for f in comparison.check_ranks(DONE, {**TOGETHER, "ranks": own})}
    assert found["a card each"] == OK
    own.append(rank("b"))  # which card is not known
    found = {f.name for f in comparison.check_ranks(DONE, {**TOGETHER, "ranks": own})}
    assert "a card each" not in found


def test_ranks_that_do_not_meet():
    (finding,) = comparison.check_ranks(Answer("no answer within 300 s", "MPI_Init"), None)
    assert finding.has_failed and "no answer within 300 s: MPI_Init" in finding.found
    gone = {"ranks": [rank("a"), rank("a", [("card", "none")])]}
    found = comparison.check_ranks(DONE, gone)
    assert [finding.status for finding in found] == [FAILED, SKIPPED]
