"""All checks of a machine, one after the other."""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from src.config.configuration import Config
from src.distributed.launch import Launch
from src.doctor import memory
from src.doctor.machine import check_machine, local_size
from src.doctor.rank_checks import CARDS_MISSING, check_ranks
from src.doctor.report import Names, compose
from src.doctor.trial import Request, run_trial
from src.doctor.trial_update import cases
from src.doctor.update_checks import check_updates
from src.runtime.errors import EXIT_FAILED
from src.runtime.files import write_atomically
from src.runtime.plugins import cann, cuda, plugin, software
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import Finding, failed, skipped, summary
from src.runtime.plugins.nvidia_cards import card_of, read_cards, taken_cards

GRACE_SECONDS = 60  # for the main rank to print what it found before the job ends
NO_CARDS = "no card was checked: --device_target=GPU or --device_target=Ascend checks them"


class JobEnded(Exception):
    """The launcher ends this job because another rank failed."""


def raise_job_ended(number, frame) -> None:
    """Handler of SIGTERM, which mpirun sends a second before it kills a job."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise JobEnded


class Checkup:
    """All checks, one after the other; the main rank prints each finding at once."""

    def __init__(self, cfg: Config, launch: Launch, report: Path | None):
        self.cfg = cfg
        self.launch = launch
        self.report = report if launch.is_main else None
        self.environ = dict(os.environ)  # before OpenCV changes LD_LIBRARY_PATH when imported
        self.findings: list[Finding] = []
        self.raw: dict[str, str] = {}  # output of programs, for the report
        self.hosts: set[str] = set()
        self.card_bytes = 0  # memory of the smallest card; 0 if unknown
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
        self.add(
            [
                software.check_python(),
                software.check_mindspore(software.installed("mindspore")),
                software.check_numpy(software.installed("numpy")),
            ]
        )
        can_run = target == "CPU" or self.check_device(target)
        self.add(check_machine(self.cfg, self.launch, self.environ))
        return can_run

    def check_device(self, target: str) -> bool:
        """Checks driver, libraries and MindSpore's plugin; whether there is a card to run on."""
        if target == "GPU":
            self.check_cuda()
        else:
            self.check_cann()
        answer, found = plugin.ask_mindspore(target, self.environ)
        self.raw["MindSpore's plugin"] = answer.text
        self.add([plugin.check_available(target, answer, found), plugin.check_count(found)])
        self.add([memory.check_config_memory(self.cfg, self.card_bytes, self.environ)])
        return found is not None and found.can_run

    def check_cuda(self) -> None:
        """NVIDIA's driver, CUDA and cuDNN."""
        environ, launch = self.environ, self.launch
        here = local_size(launch, environ)
        smi = cuda.ask_smi(environ)
        cards = read_cards(smi.text)
        taken = taken_cards(cards, environ, device_id=self.cfg.device_id, ranks=launch.size)
        self.card_bytes = min((card.memory for card in taken if card.memory), default=0) << 20
        self.card = card_of(cards, environ, launch.local_rank)
        release, reason = cuda.release_of(environ)
        kind = cuda.plugin_for(release)
        self.add([cuda.check_cards(smi, cards), cuda.check_driver(taken or cards, kind, here)])
        self.add([cuda.check_visible(len(cards), here, environ)])
        self.add([cuda.check_nvcc(release, reason, environ.get("CUDA_HOME", ""))])
        file = cuda.plugin_file(kind)
        libraries, problem = cuda.linked(file, environ) if file else ({}, "no MindSpore here")
        mixed = cuda.mixed_in(file, environ) if file else ""
        self.add([cuda.check_libraries(libraries, problem, kind, mixed=mixed)])
        path = libraries.get("libcudnn.so.8")
        version = cuda.ask_cudnn(path, environ) if path else None
        self.add([cuda.check_cudnn(path, version, taken or cards)])

    def check_cann(self) -> None:
        """The Ascend's driver and CANN."""
        home = cann.home_of(self.environ)
        smi = cann.ask_smi(self.environ)
        self.card_bytes = cann.memory_of(smi.text) << 20
        self.add([cann.check_cards(smi), cann.check_home(home)])
        if home is not None and home.is_dir():
            self.add([cann.check_version(cann.read_version(home))])
        file = cann.plugin_file()
        libraries, problem = cuda.linked(file, self.environ) if file else ({}, "no MindSpore here")
        self.add([cuda.check_libraries(libraries, problem, "Ascend", cann.SOURCE)])

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
