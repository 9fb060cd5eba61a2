"""The paths of the service."""

import contextlib
import difflib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from detector_service.answers import ImageResult, ImageResults, Model, Problem
from detector_service.detector import Detector
from detector_service.metrics import Metrics, Observer
from detector_service.refusals import Refusal
from detector_service.service import Service, Wanted
from detector_service.settings import Settings

PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
BINARY = {"type": "string", "format": "binary"}
RAW = {kind: {"schema": BINARY} for kind in ("image/*", "application/octet-stream")}
REASONS = {
    400: "no image in the request",
    408: "the body took too long",
    413: "too many bytes",
    415: "not a JPEG, PNG, WebP or BMP image",
    422: "too many pixels, a damaged image, or a wrong parameter",
    503: "too many images inside; Retry-After has the seconds",
    504: "the result took too long",
}
PROBLEMS = {status: {"model": Problem, "description": text} for status, text in REASONS.items()}


def form(schema: dict) -> dict:
    """The schema of a form with images, whatever the names of its fields."""
    return {"schema": {"type": "object", "properties": {"image": schema}}}


ONE = {"requestBody": {"content": {"multipart/form-data": form(BINARY), **RAW}}}
SEVERAL = {"multipart/form-data": form({"type": "array", "items": BINARY})}


def create_app(detector: Detector, settings: Settings) -> FastAPI:
    """The application; its paths answer as long as its lifespan runs."""
    metrics = Metrics()
    service = Service(detector, settings, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await service.close()

    app = FastAPI(title="Detector", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_exception_handler(Refusal, answer_refusal)
    app.add_exception_handler(RequestValidationError, answer_wrong_parameter)
    add_detection(app, service)
    add_state(app, service, metrics)
    add_page(app)
    paths = [route.path for route in app.routes]
    app.add_middleware(Observer, metrics=metrics, paths=paths, headers=HEADERS)
    return app


def add_detection(app: FastAPI, service: Service) -> None:
    """The paths that take images."""
    lowest, names = service.detector.threshold, service.detector.names

    def wanted(
        score_threshold: Annotated[
            float, Query(ge=lowest, le=1, description="the default is the lowest of the file")
        ] = lowest,
        classes: Annotated[
            list[str] | None, Query(description="names, one a parameter; all without")
        ] = None,
    ) -> Wanted:
        return Wanted(score_threshold, None if classes is None else find_labels(classes, names))

    @app.post("/detect", responses=PROBLEMS, openapi_extra=ONE)
    async def detect(request: Request, choice: Annotated[Wanted, Depends(wanted)]) -> ImageResult:
        """Detections of one image: the body itself, or the file of a form."""
        (result,) = await service.answer(request, choice, 1)
        return result

    @app.post(
        "/detect/batch", responses=PROBLEMS, openapi_extra={"requestBody": {"content": SEVERAL}}
    )
    async def detect_batch(
        request: Request, choice: Annotated[Wanted, Depends(wanted)]
    ) -> ImageResults:
        """Detections of all images of a form; one that cannot be used refuses the request."""
        most = service.settings.max_images
        return ImageResults(images=await service.answer(request, choice, most))


def find_labels(classes: list[str], names: list[str]) -> frozenset[int]:
    """The labels of these names; Refusal 422 where one is unknown."""
    for name in classes:
        if name not in names:
            near = difflib.get_close_matches(name, names, 3, 0.5) or names[:10]
            raise Refusal(422, f"classes: {name!r} is none; there are {', '.join(near)} (/model)")
    return frozenset(index for index, name in enumerate(names) if name in classes)


def add_state(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """The paths for those who operate the service."""
    detector, settings = service.detector, service.settings
    model = Model(
        names=detector.names,
        image_size=[detector.height, detector.width],
        resize=detector.about["resize"],
        score_threshold=detector.threshold,
        fixed_batch=detector.fixed_batch,
        max_batch=service.max_batch,
        max_images=settings.max_images,
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
    )

    @app.get("/model")
    async def get_model() -> Model:
        """Names of the classes, and the limits."""
        return model

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @app.get("/health", responses={503: {"model": Problem}})
    @app.get("/health/ready", responses={503: {"model": Problem}})
    async def ready() -> dict[str, str]:
        """Images would be taken: the model is loaded, and the service is not about to end."""
        if not service.batcher.is_ready():
            raise Refusal(503, "not ready", {"Retry-After": "1"})
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    async def get_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def add_page(app: FastAPI) -> None:
    """The page to try it in."""

    def add(path: str, file: Path) -> None:
        @app.get(path, include_in_schema=False)
        async def get_file() -> FileResponse:
            return FileResponse(file, headers={"Cache-Control": "no-cache"})

    add("/", PAGE / "page.html")
    for name in ("page.css", "page.js"):
        add(f"/{name}", PAGE / name)


async def answer_refusal(request: Request, refusal: Refusal) -> JSONResponse:
    return JSONResponse({"detail": refusal.reason}, refusal.status, refusal.headers)


async def answer_wrong_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
    """The first wrong parameter in a line, as all other problems are."""
    first = error.errors()[0]
    name, value = first["loc"][-1], first.get("input")
    return JSONResponse({"detail": f"{name} is {value!r}: {first['msg']}"}, 422)
