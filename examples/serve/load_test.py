"""Puts load on a running service and prints throughput, latency, errors and its memory.

python3 load_test.py photos/             # closed loop: 4 clients, each waits for its answer
python3 load_test.py photos/ --rate=20   # open loop: Poisson arrivals, 20 a second

In the open loop a request's latency counts from the moment at which it was to be sent, so that a
service which falls behind cannot slow its own load down and look fast. Needs nothing but Python.
"""

import argparse
import http.client
import os
import queue
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
TIME_OUT = 60  # seconds of a request, after which it is an error
KEPT = 30  # seconds after which an idle connection is opened anew, before the service closes it
CONNECTIONS = 128  # most requests at once in the open loop; beyond, they are late and count so
SHARES = (0.5, 0.95, 0.99)
MEMORY, CPU = "process_resident_memory_bytes", "process_cpu_seconds_total"
INFERENCES, IMAGES = "detector_batch_size_count", "detector_batch_size_sum"


@dataclass
class Record:
    """What happened, by all clients."""

    latencies: list[float] = field(default_factory=list)  # seconds, of answers with status 200
    outcomes: Counter = field(default_factory=Counter)  # by status, or by the error's name
    latest: float = 0.0  # seconds that a request was sent behind its time

    def note(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1  # under the interpreter's lock
        if outcome == "200":
            self.latencies.append(seconds)


class Client:
    """A connection that is kept, and opened again after an error or a pause."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self.path = parts.path.rstrip("/")
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIME_OUT)
        self.used = time.perf_counter()

    def send(self, body: bytes) -> str:
        """The status of the answer, or the name of what went wrong."""
        if time.perf_counter() - self.used > KEPT:
            self.connection.close()
        self.used = time.perf_counter()
        try:
            self.connection.request("POST", f"{self.path}/detect", body)
            answer = self.connection.getresponse()
            answer.read()
            return str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            return type(error).__name__

    def metrics(self) -> dict[str, float]:
        """The service's own numbers, by their names and labels."""
        self.connection.request("GET", f"{self.path}/metrics")
        lines = self.connection.getresponse().read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


def closed_loop(url: str, bodies: list[bytes], clients: int, seconds: float) -> Record:
    """Each client sends its next request when it has the answer to the last."""
    record, end = Record(), time.perf_counter() + seconds

    def work(number: int) -> None:
        client, choice = Client(url), random.Random(number)
        while (start := time.perf_counter()) < end:
            record.note(client.send(choice.choice(bodies)), time.perf_counter() - start)

    run_threads(work, clients)
    return record


def open_loop(url: str, bodies: list[bytes], rate: float, seconds: float) -> Record:
    """Requests at random moments, `rate` a second on average, whether answers come or not."""
    record, due, start = Record(), queue.Queue(), time.perf_counter()

    def work(number: int) -> None:
        client, choice = Client(url), random.Random(number)
        while (intended := due.get()) is not None:
            record.latest = max(record.latest, time.perf_counter() - intended)
            record.note(client.send(choice.choice(bodies)), time.perf_counter() - intended)
        due.put(None)  # for the next one

    def schedule() -> None:
        for moment in arrivals(rate, seconds):
            time.sleep(max(0.0, start + moment - time.perf_counter()))
            due.put(start + moment)
        due.put(None)

    threading.Thread(target=schedule, daemon=True).start()
    run_threads(work, CONNECTIONS)
    return record


def arrivals(rate: float, seconds: float, seed: int = 0) -> Iterator[float]:
    """The moments of a Poisson process: gaps between them are exponential."""
    choice, moment = random.Random(seed), 0.0
    while (moment := moment + choice.expovariate(rate)) < seconds:
        yield moment


def run_threads(work: Callable[[int], None], number: int) -> None:
    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def quantile(values: list[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed; nan of none."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else float("nan")


def read_bodies(paths: list[str]) -> list[bytes]:
    """The images' bytes; ends with a line where there are none."""
    files = []
    for path in map(Path, paths):
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [file for file in inside if file.suffix.lower() in SUFFIXES]
    if not files:
        sys.exit(f"no images ({', '.join(SUFFIXES)}) in {', '.join(paths)}")
    return [file.read_bytes() for file in files]


def report(record: Record, seconds: float, seen: list[dict[str, float]]) -> bool:
    """Prints the figures; whether every answer was 200."""
    number = sum(record.outcomes.values())
    wrong = {name: count for name, count in record.outcomes.items() if name != "200"}
    print(f"requests    {number}, errors {sum(wrong.values())} {wrong or ''}")
    print(f"throughput  {len(record.latencies) / seconds:.1f} images/s over {seconds:.1f} s")
    shown = [f"p{100 * share:g} {1000 * quantile(record.latencies, share):.0f}" for share in SHARES]
    print(f"latency     {', '.join(shown)} ms, most {1000 * max(record.latencies, default=0):.0f}")
    if record.latest:
        print(f"sent late   by at most {1000 * record.latest:.0f} ms")
    memory = [one[MEMORY] / 2**20 for one in seen if MEMORY in one]
    if memory:
        middle = memory[len(memory) // 2]
        print(f"memory      start {memory[0]:.0f}, middle {middle:.0f}, end {memory[-1]:.0f} MiB, "
              f"most {max(memory):.0f}")  # fmt: skip
        used = seen[-1][CPU] - seen[0][CPU]
        print(f"CPU         {used / seconds:.2f} cores of the service, "
              f"{1000 * used / max(1, number):.0f} ms a request")  # fmt: skip
    runs = seen[-1][INFERENCES] - seen[0][INFERENCES]
    images = seen[-1][IMAGES] - seen[0][IMAGES]
    print(f"batches     {images / max(1, runs):.2f} images on average")
    print(
        "load        " + " ".join(f"{one:.1f}" for one in os.getloadavg()) + " here (1, 5, 15 min)"
    )
    return not wrong


def watch(url: str, seen: list[dict[str, float]], ended: threading.Event, pause: float) -> None:
    """Reads the service's numbers now and then."""
    while not ended.wait(pause):
        read_numbers(url, seen)


def read_numbers(url: str, seen: list[dict[str, float]]) -> None:
    """Adds the service's numbers to those seen, unless it has gone; its requests then fail."""
    with suppress(OSError, http.client.HTTPException):
        seen.append(Client(url).metrics())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", help="files or folders")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=4, help="of the closed loop")
    parser.add_argument("--rate", type=float, default=0, help="requests a second, open loop")
    flags = parser.parse_args()
    bodies = read_bodies(flags.images)
    try:
        seen = [Client(flags.url).metrics()]
    except OSError as error:
        sys.exit(f"{flags.url}: no service answers there ({error})")
    ended = threading.Event()
    pause = flags.seconds / 20
    watcher = threading.Thread(target=watch, args=(flags.url, seen, ended, pause), daemon=True)
    watcher.start()
    start = time.perf_counter()
    if flags.rate:
        record = open_loop(flags.url, bodies, flags.rate, flags.seconds)
    else:
        record = closed_loop(flags.url, bodies, flags.clients, flags.seconds)
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    read_numbers(flags.url, seen)
    sys.exit(0 if report(record, seconds, seen) else 1)


if __name__ == "__main__":
    main()
