"""What the benchmarks share: command line, JSON lines, times and memory of this process."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
MILLI, MEGA, GIGA = 1e3, 1e6, 1e9


def make_parser(description: str) -> argparse.ArgumentParser:
    """A command line that is described by the script's docstring."""
    return argparse.ArgumentParser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, and as `flags` the rest, which are flags of train.py."""
    args, flags = parser.parse_known_args(argv)
    if flags:
        from src.runtime.errors import InputError

        try:
            configure(flags)
        except InputError as error:
            parser.error(str(error))
    return argparse.Namespace(**vars(args), flags=flags)


def configure(flags: Sequence[str], **keys: object):
    """The configuration with these keys, and over them flags of train.py; else COCO's classes."""
    from src.config.command_line import parse_args
    from src.weights.coco_classes import COCO_NAMES

    given = [*(f"--{key}={value}" for key, value in keys.items()), *flags]
    return parse_args("", given, beneath=lambda _: ({"classes": COCO_NAMES}, "benchmark"))


def print_row(name: str, row: dict) -> None:
    """Prints a JSON line."""
    print(json.dumps({"benchmark": name, **row}), flush=True)


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU-seconds of this process, that a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of so many calls."""
    return statistics.median(measure(work)[0] for _ in range(repeats))


def peak_bytes() -> int:
    """Most memory that this process ever held; ru_maxrss may be the parent's, before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
