"""Recognises out-of-memory errors by their texts, and replaces them by a line with advice."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from src.runtime.errors import InputError, RunError

# MindSpore's texts on all devices ("Memory not enough", "alloc failed"), CANN's ("EL0004: Failed to
# allocate memory"), CUDA's, cuDNN's, ONNX Runtime's, OpenCV's and C++'s
SIGNS = re.compile(
    r"memory (?:is not|isn't|not) enough|alloc[ _]failed|out[ _]of[ _]memory|EL0004|bad_alloc"
    r"|(?:allocate|malloc)(?: \w+){0,2} memory|insufficient memory|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)
# the error has the second text only; the first goes to MindSpore's log
TOO_LARGE = re.compile(r"max_limit of 2 Giga-elements|Gpu kernel op\[[^\n]*\] Resize failed")
ASKED = re.compile(r"(?:alloc|memory) size: ?(\d+)")  # bytes


class OutOfMemory(RunError):
    """Something asked for more memory than there is; the message says how to ask for less."""


def shortage(error: BaseException) -> str:
    """What ran out, in a few words; "" if the error has another reason."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, (InputError, RunError, OSError)):
        return ""
    text = str(error)
    if TOO_LARGE.search(text):
        return "a tensor has more than 2^31 elements, which MindSpore refuses on a GPU"
    if not SIGNS.search(text):
        return ""
    asked = ASKED.search(text)
    return f"out of memory, asking for {int(asked[1]) / 1e9:.1f} GB" if asked else "out of memory"


@contextmanager
def with_memory_advice(advice: Callable[[], str]) -> Iterator[None]:
    """Replaces an out-of-memory error by an OutOfMemory with the text `advice()`."""
    try:
        yield
    except Exception as error:
        if not (what := shortage(error)):
            raise
        raise OutOfMemory(f"{what}: {advice()}") from None
