"""Which updates pass, and what is reported of those that fail."""

import pytest

from src.doctor.update_checks import check_updates
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import FAILED, OK, SKIPPED

DONE = Answer("")
MOMENTUM, ADAMW = ("momentum", "float32"), ("adamw", "float32")
HALF = ("momentum", "float16")
CPU = {"loss": 2.0, "norm": 0.5, "after": 1.9975, "rate": 1e-2}


def updated(case=MOMENTUM, **changes):
    """An update as a trial returns it."""
    return {"optimizer": case[0], "precision": case[1], **CPU, **changes}


def check(case, own, expected=None):
    """The finding on one update, compared with the CPU's where one is given."""
    reference = None if expected is None else {"updates": [expected]}
    (finding,) = check_updates([case], DONE, {"updates": [own]}, reference)
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
        (MOMENTUM, {"norm": None}, FAILED),  # nan and infinity are null in JSON
        (HALF, {"loss": 2.01, "norm": 0.504, "after": 2.0075}, OK),
        (HALF, {"norm": 0.51}, FAILED),
    ],
)
def test_a_card_is_compared_with_the_cpu(case, changes, status):
    finding = check(case, updated(case, **changes), updated((case[0], "float32")))
    assert finding.status == status
    assert bool(finding.remedy) == (status == FAILED)


def test_the_number_that_differs_most_is_reported():
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


def test_a_crash_fails_and_later_updates_are_skipped():
    cases = [MOMENTUM, ADAMW, HALF]
    output = "compiling\nFatal Python error: Floating point exception\n\nThread 1:\n  File x\n"
    crashed = Answer("ended by SIGFPE", output)
    done = {"updates": [updated()]}
    found = check_updates(cases, crashed, done, {"updates": [updated()]})
    assert [finding.status for finding in found] == [OK, FAILED, SKIPPED]
    assert found[1].found.endswith("ended by SIGFPE: Fatal Python error: Floating point exception")
    found = check_updates(cases, Answer("no answer within 1800 s"), None, None)
    assert [finding.status for finding in found] == [FAILED, SKIPPED, SKIPPED]


def test_the_error_is_found_in_mindspores_output():
    output = (
        "Traceback (most recent call last):\n  File x, line 1\nRuntimeError:\n---\n"
        "Graph cycle exists\n----\n- C++ Call Stack:\n----\nframe.cc:98 DoJump\n"
    )
    assert Answer("", output).reason == "RuntimeError: Graph cycle exists"
    assert Answer("", "nothing of that kind\n").reason == "nothing of that kind"
    assert Answer("").reason == "no output"


def test_an_error_of_mindspore_is_shown():
    own = {"optimizer": "momentum", "precision": "float32", "error": "RuntimeError: Graph cycle"}
    finding = check(MOMENTUM, own, updated())
    assert finding.has_failed and "Graph cycle" in finding.found


def test_a_card_fails_without_a_cpu_result_to_compare_with():
    (finding,) = check_updates([MOMENTUM], DONE, {"updates": [updated()]}, {})
    assert finding.has_failed and "it did not end" in finding.found
    own = {"optimizer": "momentum", "precision": "float32", "error": "RuntimeError: no"}
    finding = check(MOMENTUM, updated(), own)
    assert finding.has_failed and "RuntimeError: no" in finding.found
