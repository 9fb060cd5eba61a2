"""How a checkup ends: in one process, on a rank that failed, and when the launcher ends the job."""

import signal

import pytest

from src.config.configuration import make_config
from src.distributed.launch import Launch
from src.doctor import checkup, trial
from src.doctor.checkup import Checkup, JobEnded, raise_job_ended
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import ok

MAIN, OTHER = (Launch("mpirun", rank=rank, size=2) for rank in (0, 1))


def checkup_of(launch, report=None, **keys):
    """A checkup that has checked nothing yet."""
    return Checkup(make_config([(keys, "test")]), launch, report)


def test_the_main_rank_reports_its_findings_when_the_job_ends(monkeypatch, capsys, tmp_path):
    def end(can_run):
        raise JobEnded

    report = tmp_path / "report.txt"
    main = checkup_of(MAIN, report)
    monkeypatch.setattr(main, "check_setup", lambda: main.add([ok("Python", "3.11")]))
    monkeypatch.setattr(main, "check_computing", end)
    main.run()
    with pytest.raises(SystemExit) as left:
        main.close()
    assert left.value.code == 1
    output = capsys.readouterr().out
    assert "FAILED  the job" in output and "1 of 2 checks failed: the job" in output
    assert "FAILED  the job" in report.read_text()


def test_a_second_sigterm_is_ignored(monkeypatch):
    set_to = []
    monkeypatch.setattr(checkup.signal, "signal", lambda *what: set_to.append(what))
    with pytest.raises(JobEnded):
        raise_job_ended(signal.SIGTERM, None)
    assert set_to == [(signal.SIGTERM, signal.SIG_IGN)]


def test_another_rank_that_fails_prints_why_and_waits(monkeypatch, capsys):
    waits = []
    monkeypatch.setattr(checkup.time, "sleep", waits.append)
    other = checkup_of(OTHER)
    other.end_other_rank(Answer(""))
    assert waits == [] and capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as left:
        other.end_other_rank(
            Answer("ended with status 1", "begun\nRuntimeError: no NCCL\n- frame\n")
        )
    assert left.value.code == 1 and waits == [checkup.GRACE_SECONDS]
    assert capsys.readouterr().err == "rank 1: ended with status 1: RuntimeError: no NCCL\n"


@pytest.mark.parametrize(("target", "is_printed"), [("CPU", True), ("GPU", False)])
def test_the_last_line_says_that_no_card_was_checked(target, is_printed, capsys):
    own = checkup_of(Launch(), device_target=target)
    own.add([ok("Python", "3.11")])
    own.close()
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("--device_target=GPU" in last) == is_printed


def test_ranks_that_share_a_card_do_not_start(monkeypatch):
    """NCCL would fail or hang."""
    for name, value in (("RANK", "0"), ("SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", value)
    everyone = [{"host": "a", "failures": [], "can_run": True, "card": "GPU-1"}] * 2
    monkeypatch.setattr(trial, "gather_facts", lambda facts: everyone)
    monkeypatch.setattr(trial, "run_together", lambda *given: {"ranks": [], "begun": True})
    request = trial.Request("GPU", cases=[("adamw", "float16")], is_rank=True, card="GPU-1")
    assert trial.run_here(request, print) == {"ranks": everyone}
    everyone[1] = {**everyone[1], "card": "GPU-2"}
    monkeypatch.setenv("OMPI_COMMAND", "x")  # which a rank sets for MindSpore
    assert trial.run_here(request, print)["begun"]
