"""Looks at what training needs on this machine, cheap things first, and says what to mend.

    python3 -m src.doctor [--device_target=CPU|GPU|Ascend] [--config_path=FILE] [--report FILE]

Any key of the configuration is a flag; batch size, precision, image size and workers count. Under
mpirun, with as many ranks as a training will have, it looks at these too. A line for each check,
with what to do beneath those that failed; the status is 0 if none did, else 1. --report writes all
of it, with versions, variables and the drivers' own words, without names of people and machines.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from src.command import end_with_status
from src.config import Config, parse_args, raise_input_error
from src.data.problems import count
from src.doctor.findings import Finding, summary
from src.errors import EXIT_FAILED, InputError
from src.launch import Launch, find_launch, prepare_environment


class Visit:
    """All checks, one after the other; the main rank tells them as they come.

    Args:
        cfg: the configuration.
        launch: of this process.
        report: file to write, or None.
    """

    def __init__(self, cfg: Config, launch: Launch, report: Optional[Path]):
        self.cfg = cfg
        self.launch = launch
        self.report = report if launch.is_main else None
        self.environ = dict(os.environ)  # before OpenCV changes LD_LIBRARY_PATH when imported
        self.findings: list[Finding] = []
        self.raw: dict[str, str] = {}  # output of programs, for the report
        self.hosts: set[str] = set()
        self.card_bytes = 0  # memory of the smallest card, where one is seen

    def add(self, findings: Iterable[Finding]) -> None:
        """Takes findings, and tells them at once."""
        for finding in findings:
            self.findings.append(finding)
            if self.launch.is_main:
                print("\n".join(finding.lines()), flush=True)

    def run(self) -> None:
        """Everything."""
        can_run = self.look()
        self.write_report()  # should the launcher end this job in what follows
        if can_run or self.launch.size > 1:
            self.try_out(can_run)
        else:
            self.skip_updates()
        self.write_report()

    def look(self) -> bool:
        """What needs no computing; whether there is a device to compute on."""
        from src.doctor.looks import look_at_cards, look_at_software
        from src.doctor.machine import check_machine

        target = self.cfg.device_target
        self.add(look_at_software())
        can_run = True
        if target != "CPU":
            can_run = look_at_cards(self, target)
        self.add(check_machine(self.cfg, self.launch, self.environ))
        return can_run

    def skip_updates(self) -> None:
        """Says that nothing was computed."""
        from src.doctor.findings import skipped

        for optimizer, precision in self.cases():
            self.add([skipped(f"{optimizer}, {precision}", "MindSpore has no card to run on")])

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
        )
        self.tell_wait(target)
        answer, done = comparison.try_out(request, comparison.limit(target), self.environ)
        self.raw["updates"] = answer.text
        if not self.launch.is_main:
            self.leave(answer.problem)
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
            self.skip_updates()
        else:
            self.add(comparison.check_updates(self.cases(), answer, done, expected))

    def leave(self, problem: str) -> None:
        """The end of a rank that is not the main one, which tells what this one found."""
        if problem:
            print(f"rank {self.launch.rank}: {problem}", file=sys.stderr)
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
        from src.files import write_atomically

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
        if any(finding.has_failed for finding in self.findings):
            sys.exit(EXIT_FAILED)


def headline(cfg: Config, launch: Launch) -> str:
    """What the checks are for."""
    height, width = cfg.image_size
    ranks, workers = count(launch.size, "rank"), count(cfg.num_workers, "worker")
    return (
        f"{cfg.device_target}, {ranks}, each with {workers} and batches of {cfg.batch_size} at "
        f"{width} x {height} px in {cfg.precision}\n"
    )


def parse(argv=None) -> tuple[Config, Optional[Path]]:
    """The configuration, and the report's file; InputError where it cannot be written."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = raise_input_error
    parser.add_argument("--report", type=Path)
    own, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    cfg = parse_args(__doc__, rest)
    if own.report:
        from src.files import make_output_folder

        make_output_folder(str(own.report.parent), "report")
        if own.report.is_dir():
            raise InputError(f"{own.report}: is a folder; --report wants a file")
    return cfg, own.report


def main(argv=None) -> None:
    cfg, report = parse(argv)
    launch = find_launch()
    if launch.is_scheduler:
        from src.parallel import serve_as_scheduler

        serve_as_scheduler(launch)
    prepare_environment(launch)
    if launch.is_main:
        print(headline(cfg, launch), flush=True)
    visit = Visit(cfg, launch, report)
    visit.run()
    visit.close()


if __name__ == "__main__":
    end_with_status(main)
