"""Several images that arrive at about the same time in one inference."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

MEAN = 0.9  # share of the former mean in that of an image's seconds


@dataclass(frozen=True)
class Outcome:
    """The result for an item, with the seconds that it waited and ran, and its batch's size."""

    result: Any
    waited: float
    ran: float
    batch_size: int


@dataclass(frozen=True)
class Waiting:
    """An item in the queue, since a time."""

    item: Any
    future: asyncio.Future
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """Runs queued items in batches, one batch after the other, in a thread of its own.

    A batch starts when it is full, or when its first item has waited for `max_wait`; so while one
    runs the next one fills. Items whose request gave up are dropped before their batch.

    Args:
        run: takes a list of items and returns a list of as many results.
        max_batch: most items of a batch.
        max_wait: seconds.
        on_batch: is told the number of items and the seconds of each batch.
    """

    def __init__(
        self,
        run: Callable[[list], Sequence],
        *,
        max_batch: int,
        max_wait: float,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
    ):
        self.run, self.max_batch, self.max_wait = run, max_batch, max_wait
        self.on_batch = on_batch
        self.queue: deque[Waiting] = deque()
        self.arrived = asyncio.Event()
        self.thread = ThreadPoolExecutor(1, "inference")
        self.seconds_per_item = 0.0
        self.closing = False
        self.task: asyncio.Task | None = None

    def start(self) -> None:
        """Begins to take items, in the running event loop."""
        self.task = asyncio.get_running_loop().create_task(self.work())

    async def close(self) -> None:
        """Finishes what is queued, without waiting for more."""
        self.closing = True
        self.arrived.set()
        await self.task
        self.thread.shutdown()

    def is_ready(self) -> bool:
        """Whether items would be run."""
        return self.task is not None and not self.task.done() and not self.closing

    async def submit(self, items: Sequence) -> list[Outcome]:
        """The outcomes of the items; what `run` raises, for all items of that batch."""
        futures = [asyncio.get_running_loop().create_future() for _ in items]
        self.queue.extend(map(Waiting, items, futures))
        self.arrived.set()
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()  # where another one failed, or the request gave up

    async def work(self) -> None:
        while await self.fill():
            batch = [self.queue.popleft() for _ in range(min(self.max_batch, len(self.queue)))]
            if batch := [waiting for waiting in batch if not waiting.future.done()]:
                await self.run_batch(batch)

    async def fill(self) -> bool:
        """Waits until a batch is to start; False where none will come."""
        while not self.queue:
            if self.closing:
                return False
            await self.wait_for_arrival(None)
        while len(self.queue) < self.max_batch and not self.closing:
            left = self.queue[0].since + self.max_wait - time.perf_counter()
            if left <= 0:
                break
            await self.wait_for_arrival(left)
        return True

    async def wait_for_arrival(self, seconds: float | None) -> None:
        self.arrived.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.arrived.wait(), seconds)

    async def run_batch(self, batch: Sequence[Waiting]) -> None:
        start = time.perf_counter()
        items = [waiting.item for waiting in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self.thread, self.run, items)
        except Exception as error:  # of any kind: it belongs to the requests of this batch
            outcomes = [error] * len(batch)
        else:
            ran = time.perf_counter() - start
            self.on_batch(len(batch), ran)
            self.note(ran / len(batch))
            waits = [start - waiting.since for waiting in batch]
            outcomes = [Outcome(*both, ran, len(batch)) for both in zip(results, waits)]
        for waiting, outcome in zip(batch, outcomes):
            if waiting.future.done():
                continue
            if isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)

    def note(self, seconds: float) -> None:
        """Takes an item's seconds into their mean."""
        former = self.seconds_per_item or seconds
        self.seconds_per_item = MEAN * former + (1 - MEAN) * seconds
