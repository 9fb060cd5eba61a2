"""Seconds per part of a training step."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

DATA, COMPUTE, WAIT, REDUCE = "data", "forward + backward", "other ranks", "reduce"
UPDATE, HOOKS = "update", "hooks"
PARTS = (DATA, COMPUTE, WAIT, REDUCE, UPDATE, HOOKS)


class Stopwatch:
    """Adds up the seconds spent in each part of a step.

    Args:
        precise: whether parts wait for the device to finish their work; otherwise the work counts
            in the part that first needs its result.
    """

    def __init__(self, *, precise: bool = False):
        self.precise = precise
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - started

    def lap(self) -> dict[str, float]:
        """Seconds by part since the last call."""
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds
