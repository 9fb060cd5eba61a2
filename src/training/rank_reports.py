"""The speed and memory of each rank, which the ranks exchange at the end of an epoch."""

import socket
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src.runtime.stopwatch import COMPUTE, DATA, UPDATE

GIGA = 1e9
SLOW = 0.15  # a rank is named if it takes longer than the median by this share
GROWN = 1.05  # from this factor on more memory is worth a line


@dataclass(frozen=True)
class RankReport:
    """One rank in one epoch.

    Attributes:
        data, compute: seconds per update that it waited for data, and that it computed, without
            waiting for other ranks and sums.
        memory: its peak memory in bytes since its start; 0 if not known.
    """

    data: float
    compute: float
    memory: int
    host: str = field(default_factory=socket.gethostname)

    @property
    def seconds(self) -> float:
        """Per update, without waiting for others."""
        return self.data + self.compute


def make_report(updates: int, parts: Mapping[str, float], memory: int) -> RankReport:
    """The report of a rank whose timed updates took these seconds by part in all."""
    count = max(updates, 1)
    return RankReport(parts[DATA] / count, (parts[COMPUTE] + parts[UPDATE]) / count, memory)


def peak_memory(target: str) -> int:
    """The peak memory of this process in bytes; 0 if not known.

    On CPU it is the resident memory. On a card it is that of tensors in MindSpore's pool, which the
    first call creates: call it after the first update. It does not wait for the device.
    """
    if target != "CPU":
        import mindspore as ms  # not at the top: progress needs none of it

        try:
            return ms.runtime.max_memory_allocated()
        except (AttributeError, RuntimeError):  # an older MindSpore
            return 0
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0


def describe_slowest(reports: Sequence[RankReport]) -> str:
    """The slowest rank in a line, if it is slower than the median by SLOW; else ""."""
    own = [report.seconds for report in reports]
    rank, median = own.index(max(own)), statistics.median_low(own)
    slowest = reports[rank]
    if not median or slowest.seconds <= (1 + SLOW) * median:
        return ""
    waits = slowest.data - statistics.median_low(report.data for report in reports)
    more = slowest.seconds - median
    why = ": more --num_workers may help" if waits > more / 2 else ", and computes longer"
    return (
        f"rank {rank} ({slowest.host}) is the slowest: {slowest.seconds:.3g} s an update, the "
        f"median is {median:.3g}; it waits {slowest.data / slowest.seconds:.0%} for data{why}"
    )


def describe_memory(reports: Sequence[RankReport]) -> str:
    """The most memory of a rank, in a line."""
    memory = [report.memory for report in reports]
    text = f"at most {max(memory) / GIGA:.2f} GB of memory so far"
    if len(reports) == 1:
        return text
    rank = memory.index(max(memory))
    return f"{text}, on rank {rank} ({reports[rank].host}); least {min(memory) / GIGA:.2f}"


def numbers(reports: Sequence[RankReport]) -> dict:
    """The reports of all ranks, for a record."""
    found = {"peak_memory_gb": round(max(report.memory for report in reports) / GIGA, 3)}
    if len(reports) > 1:
        found["seconds_by_rank"] = [round(report.seconds, 4) for report in reports]
        found["data_seconds_by_rank"] = [round(report.data, 4) for report in reports]
        found["peak_memory_gb_by_rank"] = [round(r.memory / GIGA, 3) for r in reports]
    return found
