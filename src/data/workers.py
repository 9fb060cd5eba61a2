"""Processes that prepare arrays ahead of time, in memory shared with the consumer."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker
from multiprocessing.sharedctypes import RawArray
from queue import SimpleQueue
from typing import Any

import cv2
import numpy as np

from src.runtime.errors import WorkerDied
from src.runtime.signals import unblock_signals

SPARE_SLOTS = 2  # finished batches beside those that the workers fill
PRELOADED = ["src.data.loader"]  # imported once, in the process that workers are forked from

Arrays = dict[str, np.ndarray]
Layout = Mapping[str, tuple[tuple[int, ...], type]]  # shape and dtype by name


class Prefetcher:
    """Calls `work(task, arrays)` for one task after the other, in worker processes ahead of time.

    `work` fills the arrays, which are in shared memory, and may return something small. It is
    pickled for every worker once; NumPy arrays in it are shared, not copied. Workers are forked
    from a clean process, since the threads and devices of this one do not survive a fork. They
    ignore Ctrl-C, which the consumer handles, and end with their parent, however it ends. With 0
    workers this process does the work, when a result is requested.
    """

    def __init__(self, work: Callable[[Any, Arrays], Any], layout: Layout, *, workers: int):
        self.work = work
        self.layout = layout
        self.pool = None
        self.is_running = False
        if workers:
            context = multiprocessing.get_context("forkserver")
            start_server(context)
            blocks = [shared_block(layout_bytes(layout)) for _ in range(workers + SPARE_SLOTS)]
            self.slots = [arrays_in(memoryview(block), layout) for block in blocks]
            self.pool = ProcessPoolExecutor(
                workers, context, start_worker, (*share(work), blocks, dict(layout))
            )

    def run(self, tasks: Iterable) -> Iterator[tuple[Arrays, Any]]:
        """Yields the arrays and the result of every task, in the order of the tasks.

        An exception of `work` is raised in place of the task's result, with the worker's traceback;
        WorkerDied where a worker died without one. Of two runs at a time the workers would fill the
        same memory, so the second is a RuntimeError.
        """
        if self.is_running:
            raise RuntimeError(
                "batches are still being taken from an earlier run of these workers; read it to "
                "its end or close() it, or make another loader"
            )
        self.is_running = True
        try:
            yield from self._here(tasks) if self.pool is None else self._from_workers(tasks)
        finally:
            self.is_running = False

    def _here(self, tasks: Iterable) -> Iterator[tuple[Arrays, Any]]:
        """`run` in this process."""
        for task in tasks:
            arrays = {name: np.empty(*entry) for name, entry in self.layout.items()}
            result = self.work(task, arrays)
            yield arrays, result

    def _from_workers(self, tasks: Iterable) -> Iterator[tuple[Arrays, Any]]:
        """`run` with results of the workers."""
        results: SimpleQueue = SimpleQueue()
        proceed: SimpleQueue = SimpleQueue()
        feeder = threading.Thread(target=self._feed, args=(tasks, results, proceed), daemon=True)
        feeder.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                proceed.put(True)
                yield result
        finally:
            proceed.put(False)
            feeder.join()

    def _feed(self, tasks: Iterable, results: SimpleQueue, proceed: SimpleQueue) -> None:
        """Puts the results of the tasks, or the error that ends them, and then None in a queue.

        After each result it waits for True in `proceed`. It runs in a thread of its own: Ctrl-C
        interrupts the main thread anywhere, and could leave a lock of the pool held.
        """
        waiting: deque = deque()
        try:
            for result in self._results(tasks, waiting):
                results.put(result)
                if not proceed.get():
                    return
        except BrokenProcessPool as error:
            death = WorkerDied(
                "a process that prepares batches died without an error of its own; was it killed, "
                "for lack of memory perhaps? Try a smaller --num_workers"
            )
            death.__cause__ = error
            results.put(death)
        except BaseException as error:  # it is raised in the thread that takes the results
            results.put(error)
        finally:
            # a slot that is still written to must not be reused. The few submitted tasks are not
            # cancelled: if a worker dies now, the pool of Python 3.11 fails on cancelled ones
            wait([future for future, _ in waiting])
            results.put(None)

    def _results(self, tasks: Iterable, waiting: deque) -> Iterator[tuple[Arrays, Any]]:
        """Arrays and results by task; `waiting` holds (future, slot) of those not yielded yet."""
        free = deque(range(len(self.slots)))
        for task in tasks:
            if not free:
                yield self._take(waiting, free)
            slot = free.popleft()
            waiting.append((self.pool.submit(do_work, task, slot), slot))
        while waiting:
            yield self._take(waiting, free)

    def _take(self, waiting: deque, free: deque) -> tuple[Arrays, Any]:
        """The oldest task's arrays, copied out of its slot, and its result."""
        future, slot = waiting[0]
        result = future.result()
        arrays = {name: array.copy() for name, array in self.slots[slot].items()}
        waiting.popleft()
        free.append(slot)
        return arrays, result

    def close(self) -> None:
        """Ends the workers once their tasks are done."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None  # frees its semaphores


def start_server(context) -> None:
    """Starts the process that workers are forked from, with Ctrl-C blocked in it and in them.

    start_worker ignores Ctrl-C too, but a worker that is just starting would die with a traceback.
    """
    context.set_forkserver_preload(PRELOADED)
    start_tracker()  # separately, since Python's way to start it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_tracker() -> None:
    """Starts Python's tracker, which deletes the semaphores of a process that was killed.

    It is in a session of its own, so that a launcher that kills a rank's process group does not
    kill it; its warnings about what a killed run left are off.
    """
    tracker = resource_tracker._resource_tracker
    if tracker._fd is not None:
        return
    reading, writing = os.pipe()
    command = f"from multiprocessing.resource_tracker import main; main({reading})"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command], pass_fds=[reading], start_new_session=True
    )
    os.close(reading)
    tracker._fd, tracker._pid = writing, process.pid
    process.returncode = 0  # it ends after this process, which need not wait for it


def shared_block(size: int) -> Any:
    """Bytes that this process and its workers share."""
    return RawArray(ctypes.c_ubyte, max(size, 1))


def layout_bytes(layout: Layout) -> int:
    """Bytes of all arrays of a layout together."""
    return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in layout.values())


def arrays_in(block: memoryview, layout: Layout) -> Arrays:
    """The arrays of a layout, one after the other in a block of memory."""
    arrays, start = {}, 0
    # the widest first, so that each is aligned for its type
    for name, (shape, dtype) in sorted(layout.items(), key=lambda e: -np.dtype(e[1][1]).itemsize):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(block, dtype, count, start).reshape(shape)
        start += count * np.dtype(dtype).itemsize
    return arrays


def share(value: Any) -> tuple[bytes, list[tuple[Any, int]]]:
    """A value pickled without its NumPy arrays, and a shared block and the bytes of each array."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    blocks = []
    for part in (buffer.raw() for buffer in buffers):
        block = shared_block(part.nbytes)
        memoryview(block).cast("B")[: part.nbytes] = part
        blocks.append((block, part.nbytes))
    return data, blocks


def unshare(data: bytes, blocks: list[tuple[Any, int]]) -> Any:
    """The value given to `share`, its arrays read-only views of the shared blocks."""
    views = [memoryview(block).cast("B").toreadonly()[:size] for block, size in blocks]
    return pickle.loads(data, buffers=views)


worker: dict[str, Any] = {}  # in a worker process: its "work" and its "slots"


def start_worker(data: bytes, blocks: list, slots: list, layout: Layout) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    unblock_signals()
    threading.Thread(target=end_with_parent, daemon=True).start()
    cv2.setNumThreads(0)  # the workers are the parallelism
    worker["work"] = unshare(data, blocks)
    worker["slots"] = [arrays_in(memoryview(slot), layout) for slot in slots]


def end_with_parent() -> None:
    """Waits for the consumer to end, in any way, and ends this process."""
    multiprocessing.parent_process().join()
    os._exit(1)


def do_work(task: Any, slot: int) -> Any:
    """One task, in a worker process."""
    return worker["work"](task, worker["slots"][slot])
