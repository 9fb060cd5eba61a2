"""All checks of a machine, one after the other."""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from src.config.configuration import Config
from src.distributed.launch import Launch
from src.runtime.errors import EXIT_FAILED
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import Finding, failed, skipped, summary

HEAD_START = 60  # seconds that the main rank gets to tell what it found before the job ends
NO_CARDS = "no card was looked at: --device_target=GPU or --device_target=Ascend looks at them"


class JobEnded(Exception):
    """The launcher ends this job, as another rank failed."""


def raise_job_ended(number, frame) -> None:
    """Handler of SIGTERM, with which mpirun ends a job, a second before it kills."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise JobEnded


class Checkup:
    """All checks, one after the other; the main rank tells them as they come.

    Args:
        cfg: the configuration.
        launch: of this process.
        report: file to write, or None.
    """

    def __init__(self, cfg: Config, launch: Launch, report: Path | None):
        self.cfg = cfg
        self.launch = launch
        self.report = report if launch.is_main else None
        self.environ = dict(os.environ)  # before OpenCV changes LD_LIBRARY_PATH when imported
        self.findings: list[Finding] = []
        self.raw: dict[str, str] = {}  # output of programs, for the report
        self.hosts: set[str] = set()
        self.card_bytes = 0  # memory of the smallest card, where one is seen
        self.card = ""  # that this rank takes, by a name that no other card has

    def add(self, findings: Iterable[Finding]) -> None:
        """Takes findings, and tells them at once."""
        for finding in findings:
            self.findings.append(finding)
            if self.launch.is_main:
                print("\n".join(finding.lines()), flush=True)

    def run(self) -> None:
        """Everything; where the launcher ends the job, what was found until then."""
        try:
            can_run = self.check_setup()
            self.write_report()  # should this process be killed in what follows
            if can_run or self.launch.size > 1:
                self.try_out(can_run)
            else:
                self.skip_updates("MindSpore has no card to run on")
        except JobEnded:
            remedy = "read what other ranks printed above; run the doctor on their machines alone"
            told = "ended by its launcher, as it is when a rank fails"
            self.add([failed("the job", told, remedy)])
        self.write_report()

    def check_setup(self) -> bool:
        """What needs no computing; whether there is a device to compute on."""
        from src.doctor.device_checks import check_device, check_software
        from src.doctor.machine import check_machine

        target = self.cfg.device_target
        self.add(check_software())
        can_run = True
        if target != "CPU":
            can_run = check_device(self, target)
        self.add(check_machine(self.cfg, self.launch, self.environ))
        return can_run

    def skip_updates(self, reason: str) -> None:
        """Says that nothing was computed."""
        for optimizer, precision in self.cases():
            self.add([skipped(f"{optimizer}, {precision}", reason)])

    def cases(self) -> list[tuple[str, str]]:
        """Which updates are made: all kinds, or with several ranks the one of the configuration."""
        from src.doctor.comparison import cases

        if self.launch.size > 1:
            return [(self.cfg.optimizer, self.cfg.precision)]
        return cases(self.cfg.device_target)

    def try_out(self, can_run: bool) -> None:
        """Updates, and under a launcher what ranks do together."""
        from src.doctor import comparison
        from src.doctor.trial import Request

        target, is_rank = self.cfg.device_target, self.launch.size > 1
        request = Request(
            target,
            device_id=self.cfg.device_id,
            cases=self.cases(),
            is_rank=is_rank,
            failures=[(f.name, f.found) for f in self.findings if f.has_failed],
            can_run=can_run,
            card=self.card,
        )
        self.tell_wait(target)
        answer, done = comparison.try_out(request, comparison.limit(target), self.environ)
        self.raw["updates"] = answer.text
        if not self.launch.is_main:
            self.leave(answer)
            return
        self.hosts = {rank["host"] for rank in (done or {}).get("ranks", [])}
        expected = None
        if any((done or {}).get("updates", [])) and target != "CPU":
            reference, expected = comparison.reference(self.environ)
            expected = expected or {}
            self.raw["updates on the CPU"] = reference.text
        if is_rank:
            self.add(comparison.check_ranks(answer, done))
        if done and "updates" not in done:
            self.skip_updates("not every rank has a card of its own to run on")
        else:
            self.add(comparison.check_updates(self.cases(), answer, done, expected))

    def leave(self, answer: Answer) -> None:
        """The end of a rank that is not the main one, which tells what this one found.

        A rank that failed says why and stays until the main one has ended the job, or for
        HEAD_START: the launcher ends all ranks with the first that fails.
        """
        if not answer.problem:
            return
        print(
            f"rank {self.launch.rank}: {answer.problem}: {answer.reason}",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(HEAD_START)
        sys.exit(EXIT_FAILED)

    def tell_wait(self, target: str) -> None:
        """Says on a terminal why nothing happens."""
        if self.launch.is_main and sys.stderr.isatty():
            first = "" if target == "CPU" else "; the first start on a card can take many minutes"
            print(f"        ... updates of a small network{first}", file=sys.stderr, flush=True)

    def write_report(self) -> None:
        """Writes what is known by now."""
        if self.report is None:
            return
        from src.doctor.report import Names, compose
        from src.runtime.files import write_atomically

        names = Names.of_this_machine(self.hosts)
        text = compose(self.cfg, self.findings, environ=self.environ, raw=self.raw, names=names)
        write_atomically(self.report, text)

    def close(self) -> None:
        """The last lines, and the status."""
        if not self.launch.is_main:
            return
        print(f"\n{summary(self.findings)}")
        if self.report:
            print(f"report: {self.report}")
        if self.cfg.device_target == "CPU":
            print(NO_CARDS)
        if any(finding.has_failed for finding in self.findings):
            sys.exit(EXIT_FAILED)
