"""Starts the service: `python3 -m detector_service detector.onnx`."""

import os
import signal
import sys

from detector_service.settings import Settings, cores, read_settings

KEEP_ALIVE = 75  # seconds of an idle connection: longer than proxies keep theirs, 60 in most
GRACE = 5  # seconds beyond the time-outs of requests in which the service ends


def main() -> None:
    settings = read_settings(sys.argv[1:], os.environ)
    # OpenCV's own limit, beside that of images.py; read when it is imported
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(settings.max_pixels)
    serve(settings)


def serve(settings: Settings) -> None:
    """Answers until SIGTERM or SIGINT; requests inside are finished first, then the status is 0."""
    import cv2
    import uvicorn

    from detector_service.app import create_app
    from detector_service.detector import Detector, ModelError

    threads = settings.threads or cores()
    cv2.setNumThreads(1)  # images are resized beside each other, and beside ONNX Runtime's threads
    try:
        detector = Detector(settings.model, threads)
        detector.warm_up(settings.max_batch)
    except ModelError as error:
        sys.exit(f"error: {error}")
    app = create_app(detector, settings)
    print(
        f"{settings.model}: {len(detector.names)} classes, input {detector.width} x "
        f"{detector.height}, {batches(detector, settings)}, ONNX Runtime on {threads} threads",
        file=sys.stderr,
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.body_timeout + settings.request_timeout + GRACE),
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # raised again once uvicorn has finished
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.Server(config).run()


def batches(detector, settings: Settings) -> str:
    """What the file allows, in words: one with a fixed batch computes all of it for one image."""
    most = detector.largest_batch(settings.max_batch)
    if detector.fixed_batch == 0:
        return f"batches of at most {most} images"
    if detector.fixed_batch == 1:
        return "one image at a time (the file's batch is fixed; export with --export_batch=0)"
    return (
        f"batches of {detector.fixed_batch}, filled up where fewer images wait (the file's batch "
        "is fixed; export with --export_batch=0)"
    )


if __name__ == "__main__":
    main()
