"""Work that goes on while the main thread waits for something else."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
POLL = 0.1  # seconds after which a thread that waits for room looks whether it is still wanted


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yields the items, which a thread takes out of the iterable up to `count` ahead.

    What the iterable raises is raised here, when its turn comes.
    """
    waiting: queue.Queue = queue.Queue(count)
    left = threading.Event()
    end = object()

    def put(entry: tuple[Any, Any]) -> bool:
        while not left.is_set():
            try:
                waiting.put(entry, timeout=POLL)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        error = None
        try:
            for item in items:
                if not put((item, None)):
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
