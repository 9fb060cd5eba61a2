"""Work in background threads."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

Item = TypeVar("Item")
POLL = 0.1  # seconds after which a blocked thread checks whether to stop


def prefetch(items: Iterable[Item], count: int, *, newest: bool = False) -> Iterator[Item]:
    """Yields the items; a thread reads up to `count` of them ahead.

    With `newest` the thread never waits: if the queue is full, a new item replaces the oldest. An
    exception of the iterable is raised after the items before it.
    """
    waiting: queue.Queue = queue.Queue(count)
    left = threading.Event()
    end = object()

    def put(entry: tuple[Any, Any], *, dropping: bool = False) -> bool:
        while not left.is_set():
            try:
                waiting.put(entry, timeout=0 if dropping else POLL)
                return True
            except queue.Full:
                if dropping:
                    with suppress(queue.Empty):
                        waiting.get_nowait()
        return False

    def fill() -> None:
        error = None
        try:
            for item in items:
                if not put((item, None), dropping=newest):
                    return
        except BaseException as raised:
            error = raised
        put((end, error))

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        left.set()
        thread.join()


class Follower:
    """A thread that makes calls in order, a little behind the thread that submits them.

    Leaving the context waits for the current call.

    Args:
        limit: calls that may wait or run at once; submitting more waits for the oldest.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.calls: deque[Future] = deque()
        self.pool = ThreadPoolExecutor(1)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *error) -> None:
        self.pool.shutdown(cancel_futures=True)

    def submit(self, call: Callable[..., Any], *arguments: Any) -> list:
        """Submits a call; returns the results of calls that had to finish to make room."""
        self.calls.append(self.pool.submit(call, *arguments))
        return [self.calls.popleft().result()] if len(self.calls) == self.limit else []

    def drain(self) -> Iterator:
        """The remaining results; raises what a call raised."""
        while self.calls:
            yield self.calls.popleft().result()
