"""Processes that prepare arrays ahead of time, in memory they share with the consumer."""

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
from src.runtime.signals import take_signals_back

SPARE_SLOTS = 2  # batches that wait while every worker is at work on another
ALIGNMENT = 64  # bytes; arrays start at multiples of it, which suits every type
PRELOADED = ["src.data.loader"]  # imported once, in the process that the workers are forked from

Arrays = dict[str, np.ndarray]
Layout = Mapping[str, tuple[tuple[int, ...], type]]


class Prefetcher:
    """Calls `work(task, arrays)` for one task after the other, `workers` processes ahead.

    `work` fills the arrays, which lie in shared memory, and may return something small. It is sent
    to every worker once; the NumPy arrays in it are not copied but shared too. Workers are started
    from a clean process rather than forked from this one, whose threads and devices a fork would
    not survive. They ignore Ctrl-C, which is the consumer's to handle, and end with their parent,
    however it ends.

    Args:
        work: a callable that can be pickled, a method of a plain object say.
        layout: shape and dtype of each array that it fills.
        workers: processes; 0 does the work here, when the next result is asked for.
    """

    def __init__(self, work: Callable[[Any, Arrays], Any], layout: Layout, *, workers: int):
        self.work = work
        self.layout = layout
        self.pool = None
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

        Raises:
            WorkerDied: a worker died without an exception. What `work` raises is raised here,
                with the worker's traceback, when the task's turn comes.
        """
        if self.pool is None:
            for task in tasks:
                arrays = {name: np.empty(*entry) for name, entry in self.layout.items()}
                result = self.work(task, arrays)
                yield arrays, result
            return
        results: SimpleQueue = SimpleQueue()
        go_on: SimpleQueue = SimpleQueue()
        feeder = threading.Thread(target=self._feed, args=(tasks, results, go_on), daemon=True)
        feeder.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                go_on.put(True)
                yield result
        finally:
            go_on.put(False)
            feeder.join()

    def _feed(self, tasks: Iterable, results: SimpleQueue, go_on: SimpleQueue) -> None:
        """Puts the results of the tasks, or the error that ends them, and then None in a queue.

        After each result it waits for leave to go on. It runs in a thread of its own: Ctrl-C
        interrupts the main thread wherever it is, and the pool's locks would not survive that.
        """
        free = deque(range(len(self.slots)))
        waiting: deque = deque()
        try:
            for task in tasks:
                if not free:
                    results.put(self._take(waiting, free))
                    if not go_on.get():
                        return
                slot = free.popleft()
                waiting.append((self.pool.submit(do_work, task, slot), slot))
            while waiting:
                results.put(self._take(waiting, free))
                if not go_on.get():
                    return
        except BrokenProcessPool as error:
            death = WorkerDied(
                "a process that prepares batches died without an error of its own; was it killed, "
                "for want of memory perhaps? Try a smaller --num_workers"
            )
            death.__cause__ = error
            results.put(death)
        except BaseException as error:  # it is raised in the thread that asks for results
            results.put(error)
        finally:
            # a slot that is still written to must not be given out. The few tasks under way are not
            # cancelled: should a worker die now, the pool of Python 3.11 trips over cancelled ones
            wait([future for future, _ in waiting])
            results.put(None)

    def _take(self, waiting: deque, free: deque) -> tuple[Arrays, Any]:
        """The oldest task's arrays, copied out of its slot, and its result."""
        future, slot = waiting[0]
        result = future.result()
        arrays = {name: array.copy() for name, array in self.slots[slot].items()}
        waiting.popleft()
        free.append(slot)
        return arrays, result

    def close(self) -> None:
        """Ends the workers; they finish what they are at."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None  # whose semaphores go with it, however this process ends


def start_server(context) -> None:
    """Starts the process that workers are forked from, with Ctrl-C held off from it and from them.

    start_worker ignores it too, but a worker that is just starting would die of it, noisily.
    """
    context.set_forkserver_preload(PRELOADED)
    start_tracker()  # on its own, since Python's way to start it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_tracker() -> None:
    """Starts Python's tracker, which deletes the semaphores of a process that was killed.

    It gets a session of its own, so that a launcher that kills a rank's whole process group leaves
    it its time; and no warnings, of what a killed run leaves to it.
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
    # the widest first, so that each lies where its type may
    for name, (shape, dtype) in sorted(layout.items(), key=lambda e: -np.dtype(e[1][1]).itemsize):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(block, dtype, count, start).reshape(shape)
        start += count * np.dtype(dtype).itemsize
    return arrays


def share(value: Any) -> tuple[bytes, list[int], Any]:
    """A value pickled without the contents of its NumPy arrays, their sizes, and they, shared."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    sizes = [part.nbytes for part in parts]
    block = shared_block(sum(map(padded, sizes)))
    start = 0
    for part, size in zip(parts, sizes):
        memoryview(block).cast("B")[start : start + size] = part
        start += padded(size)
    return data, sizes, block


def padded(size: int) -> int:
    """Bytes that a buffer of `size` bytes takes with what keeps the next one aligned."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def unshare(data: bytes, sizes: list[int], block: Any) -> Any:
    """The value that `share` was given, its arrays read-only views of the shared block."""
    view = memoryview(block).cast("B").toreadonly()
    buffers, start = [], 0
    for size in sizes:
        buffers.append(view[start : start + size])
        start += padded(size)
    return pickle.loads(data, buffers=buffers)


worker: dict[str, Any] = {}  # of a worker process: its "work" and its "slots"


def start_worker(data: bytes, sizes: list[int], block: Any, slots: list, layout: Layout) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_signals_back()
    threading.Thread(target=end_with_parent, daemon=True).start()
    cv2.setNumThreads(0)  # the workers are the parallelism
    worker["work"] = unshare(data, sizes, block)
    worker["slots"] = [arrays_in(memoryview(slot), layout) for slot in slots]


def end_with_parent() -> None:
    """Waits for the consumer to end, by whatever signal, and ends this process."""
    multiprocessing.parent_process().join()
    os._exit(1)


def do_work(task: Any, slot: int) -> Any:
    """One task, in a worker process."""
    return worker["work"](task, worker["slots"][slot])
