"""From a request to detections: reads, decodes, queues, and gives up in time."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from detector_service.answers import Detection, ImageResult, Timings
from detector_service.batching import Batcher, Outcome
from detector_service.detector import Detections, Detector, Fitted
from detector_service.images import decode
from detector_service.metrics import Metrics
from detector_service.refusals import Body, Places, Refusal
from detector_service.settings import Settings

MAX_FIELDS = 8  # of a form, other than files; none is read
LATE = 408
GONE = 499  # nobody reads this answer
T = TypeVar("T")
log = logging.getLogger("uvicorn.error")


class FormInMemory(MultiPartParser):
    """Keeps files out of the disk: the body's limit bounds them."""

    spool_max_size = 2**62


@dataclass(frozen=True)
class Upload:
    """An image as it came: its name in the form, if any, and its bytes."""

    file: str
    data: bytes


@dataclass(frozen=True)
class Wanted:
    """Which detections are wanted."""

    threshold: float
    labels: frozenset[int] | None  # None for all


class Service:
    """A detector behind limits, a queue and a clock."""

    def __init__(self, detector: Detector, settings: Settings, metrics: Metrics):
        self.detector, self.settings = detector, settings
        self.max_batch = detector.largest_batch(settings.max_batch)
        self.decoders = ThreadPoolExecutor(settings.decoders, "decoder")
        self.batcher = Batcher(
            detector.detect,
            max_batch=self.max_batch,
            max_wait=settings.max_wait_ms / 1000,
            on_batch=metrics.note_batch,
        )
        self.places = Places(settings.queue_size, self.retry_after)
        metrics.gauge(
            "detector_queue_images", "Waiting for a batch", lambda: len(self.batcher.queue)
        )
        metrics.gauge("detector_inside_images", "Being read to answered", lambda: self.places.used)

    def retry_after(self) -> int:
        """Whole seconds in which half of what is inside should be done, by the last batches."""
        return max(1, math.ceil(self.places.used * self.batcher.seconds_per_item / 2))

    async def close(self) -> None:
        await self.batcher.close()
        self.decoders.shutdown()

    async def answer(self, request: Request, wanted: Wanted, most: int) -> list[ImageResult]:
        """The results for the request's images; a Refusal where one cannot be used."""
        start = time.perf_counter()
        body = Body(request, self.settings.max_bytes)
        try:
            body.check()
            with self.places.take(1):
                late = f"the body did not arrive within {self.settings.body_timeout:g} s"
                uploads = await within(
                    self.settings.body_timeout, read_uploads(body.request, most), LATE, late
                )
                read = time.perf_counter() - start
                with self.places.take(len(uploads) - 1):
                    late = f"no result within {self.settings.request_timeout:g} s"
                    results = await within(
                        self.settings.request_timeout, self.detect(uploads, wanted), 504, late
                    )
        except Refusal as refusal:
            if refusal.status != LATE:
                await self.drop(body)
            raise
        total = time.perf_counter() - start
        for result in results:
            result.timings.read, result.timings.total = milliseconds(read), milliseconds(total)
        return results

    async def drop(self, body: Body) -> None:
        """Takes the rest of the body, if it comes in time."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(body.drain(), self.settings.body_timeout)

    async def detect(self, uploads: Sequence[Upload], wanted: Wanted) -> list[ImageResult]:
        loop, pictures, times = asyncio.get_running_loop(), [], []
        for number, upload in enumerate(uploads, 1):
            where = f"image {number} ({upload.file!r}): " if len(uploads) > 1 else ""
            start = time.perf_counter()
            try:
                picture = await loop.run_in_executor(self.decoders, self.fit, upload.data)
            except Refusal as refusal:
                raise Refusal(refusal.status, where + refusal.reason) from refusal
            pictures.append(picture)
            times.append(time.perf_counter() - start)
        try:
            outcomes = await self.batcher.submit(pictures)
        except Exception as error:  # ONNX Runtime's errors have no common base
            log.error("an inference failed: %s", error)
            raise Refusal(500, "the inference failed; the log of the service says why") from error
        return [
            self.result(upload.file, picture, outcome, seconds, wanted)
            for upload, picture, outcome, seconds in zip(uploads, pictures, outcomes, times)
        ]

    def fit(self, data: bytes) -> Fitted:
        """The image decoded and resized; a Refusal where that cannot be."""
        return self.detector.fit(decode(data, self.settings.max_pixels))

    def result(
        self, file: str, picture: Fitted, outcome: Outcome, decoded: float, wanted: Wanted
    ) -> ImageResult:
        width, height = picture.size
        timings = Timings(
            read=0,
            decode=milliseconds(decoded),
            wait=milliseconds(outcome.waited),
            inference=milliseconds(outcome.ran),
            total=0,
        )
        return ImageResult(
            file=file,
            width=width,
            height=height,
            detections=self.chosen(outcome.result, wanted),
            batch_size=outcome.batch_size,
            timings=timings,
        )

    def chosen(self, found: Detections, wanted: Wanted) -> list[Detection]:
        """Those of the wanted scores and classes."""
        return [
            Detection(box=box, score=score, label=label, name=self.detector.names[label])
            for box, score, label in zip(
                found.boxes.round(2).tolist(), found.scores.tolist(), found.labels.tolist()
            )
            if score >= wanted.threshold and (wanted.labels is None or label in wanted.labels)
        ]


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 2)


async def within(seconds: float, work: Awaitable[T], status: int, reason: str) -> T:
    """The result of the work; a Refusal of this status where it takes longer."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise Refusal(status, reason) from None


async def read_uploads(request: Request, most: int) -> list[Upload]:
    """The images of a form, or the raw body as one; Refusal 400 where there is none or too many."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        uploads = await read_form(request, most)
    else:
        try:
            uploads = [Upload("", await request.body())]
        except ClientDisconnect:
            raise Refusal(GONE, "the client went away") from None
    for upload in uploads:
        if not upload.data:
            what = f"file {upload.file!r}" if upload.file else "body"
            raise Refusal(400, f"the {what} is empty; expected an image")
    return uploads


async def read_form(request: Request, most: int) -> list[Upload]:
    try:
        form = await FormInMemory(
            request.headers, request.stream(), max_files=most, max_fields=MAX_FIELDS
        ).parse()
    except MultiPartException as error:
        hint = "; /detect/batch takes several" if most == 1 else ""
        raise Refusal(400, f"the form cannot be used: {error.message}{hint}") from error
    except ClientDisconnect:
        raise Refusal(GONE, "the client went away") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise Refusal(400, "the form has no file; with curl write -F image=@photo.jpg, with the @")
    return [Upload(file.filename or "", await file.read()) for file in files]
