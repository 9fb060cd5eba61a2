"""Counts and times for Prometheus, in a registry of the application's own."""

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
CLIENT_CLOSED = "499"  # in the metrics alone: the client went away before an answer


class Metrics:
    """What is counted; `process_resident_memory_bytes` and the like come with it on Linux."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "detector_requests", "Requests by path and status", ["path", "status"],
            registry=registry,
        )  # fmt: skip
        self.latency = Histogram(
            "detector_request_seconds", "From a request's header to its answer", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.batch_size = Histogram(
            "detector_batch_size", "Images of an inference", buckets=SIZES, registry=registry
        )
        self.inference = Histogram(
            "detector_inference_seconds", "Of a batch", buckets=SECONDS, registry=registry
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A number that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def note_batch(self, size: int, seconds: float) -> None:
        self.batch_size.observe(size)
        self.inference.observe(seconds)

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self.registry)


class Observer:
    """Counts and times the requests of an application, and adds headers to its answers.

    Args:
        paths: those that are counted by name; others are "other".
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: list[str], headers: dict[str, str]):
        self.app, self.metrics, self.paths = app, metrics, frozenset(paths)
        self.headers = [(name.lower().encode(), text.encode()) for name, text in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = CLIENT_CLOSED, time.perf_counter()

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                message = {**message, "headers": [*message["headers"], *self.headers]}
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except Exception:
            status = "500"
            raise
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.requests.labels(path, status).inc()
            self.metrics.latency.labels(path).observe(time.perf_counter() - start)
