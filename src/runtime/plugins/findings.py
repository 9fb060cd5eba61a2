"""The results of checks, and their text."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
NAME_WIDTH, LINE_WIDTH = 19, 110


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        status: OK, FAILED, or SKIPPED if an earlier failure makes it meaningless.
        found: what was found, or why the check was skipped.
        remedy: what to do about a failure.
    """

    name: str
    status: str
    found: str
    remedy: str = ""

    @property
    def has_failed(self) -> bool:
        return self.status == FAILED

    def lines(self) -> list[str]:
        """Status, name and result, then the remedy."""
        head = f"{self.status:<8}{self.name:<{NAME_WIDTH}}"
        text = wrapped(self.found, head, " " * (8 + NAME_WIDTH))
        if self.remedy:
            indent = " " * (8 + NAME_WIDTH)
            text += wrapped(self.remedy, f"{indent}-> ", f"{indent}   ")
        return text


def wrapped(text: str, first: str, rest: str) -> list[str]:
    """The text's lines, wrapped at LINE_WIDTH."""
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        start = rest if lines else first
        lines += textwrap.wrap(
            line, LINE_WIDTH, initial_indent=start, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return lines or [first.rstrip()]


def ok(name: str, found: str) -> Finding:
    """A check that passed."""
    return Finding(name, OK, found)


def failed(name: str, found: str, remedy: str) -> Finding:
    """A check that failed, and what to do."""
    return Finding(name, FAILED, found, remedy)


def skipped(name: str, reason: str) -> Finding:
    """A check that was not made, and why."""
    return Finding(name, SKIPPED, reason)


def summary(findings: Iterable[Finding]) -> str:
    """The last line: how many checks passed or failed."""
    findings = list(findings)
    bad = [finding.name for finding in findings if finding.has_failed]
    not_made = sum(finding.status == SKIPPED for finding in findings)
    rest = f"; {not_made} skipped" if not_made else ""
    done = len(findings) - not_made
    if not bad:
        return f"all {done} checks passed{rest}"
    return f"{len(bad)} of {done} checks failed: {', '.join(bad)}{rest}"
