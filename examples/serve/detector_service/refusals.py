"""What the service refuses, and the bytes and the number of images that it takes in."""

import contextlib
from collections.abc import Callable, Iterator

from starlette.requests import Request
from starlette.types import Message

DRAINED = 10  # times the limit of bytes that are read and dropped before a request is refused


class Refusal(Exception):
    """An answer other than 200, with its status and a line that says why."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None):
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Places:
    """Room for a number of images at once.

    Args:
        size: of images.
        retry_after: gives the seconds after which to ask again.
    """

    def __init__(self, size: int, retry_after: Callable[[], int]):
        self.size, self.used, self.retry_after = size, 0, retry_after

    @contextlib.contextmanager
    def take(self, number: int) -> Iterator[None]:
        """Holds the places; Refusal 503 with Retry-After where there are not enough."""
        if self.used + number > self.size:
            seconds = str(self.retry_after())
            raise Refusal(
                503, f"busy with {self.used} images of at most {self.size}; ask again in "
                f"{seconds} s", {"Retry-After": seconds},
            )  # fmt: skip
        self.used += number
        try:
            yield
        finally:
            self.used -= number


class Body:
    """The body of a request, counted while it arrives.

    Args:
        request: to read; `self.request` is the same with the limit.
        limit: most bytes. More raise a Refusal, 413.
    """

    def __init__(self, request: Request, limit: int):
        self.receive, self.limit = request.receive, limit
        self.request = Request(request.scope, self.receive_counted)
        self.waits = request.headers.get("expect", "").lower() == "100-continue"
        self.bytes, self.ended = 0, False
        declared = request.headers.get("content-length", "")
        self.too_large = declared.isdigit() and int(declared) > limit

    def check(self) -> None:
        """Refusal where the header already declares too many bytes."""
        if self.too_large or self.bytes > self.limit:
            raise Refusal(413, f"the body has more than the limit of {self.limit:,} bytes")

    async def receive_counted(self) -> Message:
        """The next part of the body."""
        message = await self.next_part()
        self.check()
        return message

    async def next_part(self) -> Message:
        message = await self.receive()
        self.waits = False  # a client that asked was told to send
        self.bytes += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Drops the rest: many clients read the answer only after they have sent everything."""
        while not (self.ended or self.waits or self.bytes > DRAINED * self.limit):
            await self.next_part()
