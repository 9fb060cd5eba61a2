"""All checks of a machine, one after the other."""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from src.config.configuration import Config
from src.distributed.launch import Launch
from src.doctor.device_checks import check_device, check_software
from src.doctor.machine import check_machine
from src.doctor.rank_checks import CARDS_MISSING, check_ranks
from src.doctor.report import Names, compose
from src.doctor.trial import Request, run_trial
from src.doctor.trial_update import cases
from src.doctor.update_checks import check_updates
from src.runtime.errors import EXIT_FAILED
from src.runtime.files import write_atomically
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import Finding, failed, skipped, summary

GRACE_SECONDS = 60  # for the main rank to print what it found before the job ends
NO_CARDS = "no card was checked: --device_target=GPU or --device_target=Ascend checks them"


class JobEnded(Exception):
    """The launcher ends this job because another rank failed."""


def raise_job_ended(number, frame) -> None:
    """Handler of SIGTERM, which mpirun sends a second before it kills a job."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise JobEnded


class Checkup:
    """All checks, one after the other; the main rank prints each finding at once.

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
        self.card = ""  # unique name of the card that this rank takes

    def add(self, findings: Iterable[Finding]) -> None:
        """Keeps findings, and prints them on the main rank."""
        for finding in findings:
            self.findings.append(finding)
            if self.launch.is_main:
                print("\n".join(finding.lines()), flush=True)

    def run(self) -> None:
        """Runs all checks; if the launcher ends the job, reports what was found until then."""
        try:
            can_run = self.check_setup()
            self.write_report()  # in case the updates kill this process
            if can_run or self.launch.size > 1:
                self.check_computing(can_run)
            else:
                self.skip_updates("MindSpore has no card to run on")
        except JobEnded:
            remedy = "read what other ranks printed above; run the doctor on their machines alone"
            found = "ended by its launcher, as it is when a rank fails"
            self.add([failed("the job", found, remedy)])
        self.write_report()

    def check_setup(self) -> bool:
        """The checks that need no computing; whether there is a device to compute on."""
        target = self.cfg.device_target
        self.add(check_software())
        can_run = target == "CPU" or check_device(self, target)
        self.add(check_machine(self.cfg, self.launch, self.environ))
        return can_run

    def skip_updates(self, reason: str) -> None:
        """Adds each update as skipped."""
        self.add([skipped(f"{case[0]}, {case[1]}", reason) for case in self.cases()])

    def cases(self) -> list[tuple[str, str]]:
        """The updates to make: with several ranks only the configuration's, else all kinds."""
        if self.launch.size > 1:
            return [(self.cfg.optimizer, self.cfg.precision)]
        return cases(self.cfg.device_target)

    def check_computing(self, can_run: bool) -> None:
        """Updates, and under a launcher what ranks do together."""
        request = Request(
            self.cfg.device_target,
            device_id=self.cfg.device_id,
            cases=self.cases(),
            is_rank=self.launch.size > 1,
            failures=[(f.name, f.found) for f in self.findings if f.has_failed],
            can_run=can_run,
            card=self.card,
        )
        self.print_wait()
        answer, result = run_trial(request, self.environ)
        self.raw["updates"] = answer.text
        if self.launch.is_main:
            self.add_results(answer, result)
        else:
            self.end_other_rank(answer)

    def add_results(self, answer: Answer, result: dict | None) -> None:
        """Adds the findings on a trial's result, after the same updates on the CPU for a card."""
        done = result or {}
        self.hosts = {rank["host"] for rank in done.get("ranks", [])}
        reference = None
        if done.get("updates") and self.cfg.device_target != "CPU":
            output, reference = run_trial(Request("CPU", cases=cases("CPU")), self.environ)
            reference = reference or {}
            self.raw["updates on the CPU"] = output.text
        if self.launch.size > 1:
            self.add(check_ranks(answer, result))
        if done and "updates" not in done:
            self.skip_updates(CARDS_MISSING)
        else:
            self.add(check_updates(self.cases(), answer, result, reference))

    def end_other_rank(self, answer: Answer) -> None:
        """Ends a rank other than the main one, which prints what this one found.

        A rank that failed prints why and waits until the main one has ended the job, at most
        GRACE_SECONDS: the launcher ends all ranks with the first that fails.
        """
        if not answer.problem:
            return
        problem = f"rank {self.launch.rank}: {answer.problem}: {answer.reason}"
        print(problem, file=sys.stderr, flush=True)
        time.sleep(GRACE_SECONDS)
        sys.exit(EXIT_FAILED)

    def print_wait(self) -> None:
        """Prints on a terminal why nothing happens."""
        if self.launch.is_main and sys.stderr.isatty():
            is_card = self.cfg.device_target != "CPU"
            first = "; the first start on a card can take many minutes" if is_card else ""
            print(f"        ... updates of a small network{first}", file=sys.stderr, flush=True)

    def write_report(self) -> None:
        """Writes what is known so far."""
        if self.report is None:
            return
        names = Names.of_this_machine(self.hosts)
        text = compose(self.cfg, self.findings, environ=self.environ, raw=self.raw, names=names)
        write_atomically(self.report, text)

    def close(self) -> None:
        """Prints the last lines, and exits with the status of a failure if there was one."""
        if not self.launch.is_main:
            return
        print(f"\n{summary(self.findings)}")
        if self.report:
            print(f"report: {self.report}")
        if self.cfg.device_target == "CPU":
            print(NO_CARDS)
        if any(finding.has_failed for finding in self.findings):
            sys.exit(EXIT_FAILED)
