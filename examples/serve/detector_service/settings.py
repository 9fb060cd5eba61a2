"""Settings of the service: a flag each, or a variable DETECTOR_NAME of the environment."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

PREFIX = "DETECTOR_"
LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


def setting(
    default: Any, text: str, *, least: float = 0, most: float = sys.maxsize, choices: Sequence = ()
) -> Any:
    """A field with its help, and the smallest and largest number or the words that it may be."""
    limits = {"least": least, "most": most, "choices": choices}
    return field(default=default, metadata={"help": text, **limits})


def cores() -> int:
    """CPU cores that this process may use; a container's quota is not among what is seen."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """What the service is told; times in seconds unless the name says otherwise."""

    model: str = setting("", "file of export.py --file_format=ONNX --nms=True")
    host: str = setting("127.0.0.1", "address to listen on; 0.0.0.0 for all")
    port: int = setting(8000, "port to listen on; 0 for a free one", most=65535)
    threads: int = setting(0, "threads of ONNX Runtime; 0 for as many as the process has cores")
    decoders: int = setting(2, "images decoded at once, a thread each", least=1)
    max_batch: int = setting(
        8, "most images of one inference; a fixed file's batch ends it", least=1
    )
    max_wait_ms: float = setting(5, "how long the first image of a batch waits for others")
    queue_size: int = setting(64, "images inside, from their first byte to the answer", least=1)
    max_images: int = setting(16, "most images of one request to /detect/batch", least=1)
    max_bytes: int = setting(20_000_000, "most bytes of a request's body", least=1)
    max_pixels: int = setting(50_000_000, "most pixels of an image, by its header", least=1)
    body_timeout: float = setting(10, "until a request's body has arrived", least=0.001)
    request_timeout: float = setting(30, "from the whole body to the answer", least=0.001)
    log_level: str = setting("info", "of the log on stderr; info has a line a request",
                             choices=LOG_LEVELS)  # fmt: skip


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings by flags, then by variables, then by default; ends with a line on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python3 -m detector_service",
        description=f"{__doc__.splitlines()[0]} A flag overrides its variable.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("file", nargs="?", metavar="MODEL", help="the same as --model")
    for item in fields(Settings):
        parser.add_argument(
            f"--{item.name}",
            metavar=item.type.__name__.upper(),
            default=environment.get(PREFIX + item.name.upper(), item.default),
            help=item.metadata["help"],
        )
    values = vars(parser.parse_args(arguments))
    values["model"] = values.pop("file") or values["model"]
    try:
        return checked(values)
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


def checked(values: Mapping[str, Any]) -> Settings:
    """Settings of their types and within their limits; ValueError names the wrong one."""
    found = {}
    for item in fields(Settings):
        text, choices = values[item.name], item.metadata["choices"]
        least, most = item.metadata["least"], item.metadata["most"]
        name = f"--{item.name} or {PREFIX}{item.name.upper()}"
        try:
            value = item.type(text)
        except ValueError:
            kind = "a whole number" if item.type is int else "a number"
            raise ValueError(f"{name} is {text!r}; expected {kind}") from None
        if item.type is not str and not least <= value <= most:
            limits = f"{least} or more" if most == sys.maxsize else f"{least} to {most}"
            raise ValueError(f"{name} is {text}; expected {limits}")
        if choices and value not in choices:
            raise ValueError(f"{name} is {text!r}; expected one of {', '.join(choices)}")
        found[item.name] = value
    settings = Settings(**found)
    if not settings.model:
        raise ValueError(f"no file is named; give one, as detector.onnx, or set {PREFIX}MODEL")
    if settings.max_images > settings.queue_size:
        raise ValueError(
            f"--max_images is {settings.max_images}, --queue_size {settings.queue_size}: "
            "such a request could never be taken; raise --queue_size"
        )
    return settings
