"""Addresses in a network: whether there is a picture or a video, and the pictures' pixels."""

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from src.data.files.file_kinds import HEAD, IMAGE, OTHER, VIDEO, sniff
from src.data.images import read_image
from src.runtime.errors import InputError
from src.runtime.version import __version__

OPEN_TIMEOUT = 5.0  # seconds without anything from an address
SECRETS = re.compile(r"(?<=://)[^/?#]*@")  # user and password in an address
HTTP = ("http", "https")
AGENT = f"predict.py/{__version__}"  # some servers refuse Python's own name
VIDEO_TYPES = ("video/", "multipart/")
MOST_BYTES = 2**29  # of a picture
SAFE = "%/:=&?~+!$,;'@()*[]"  # what an address may have beside letters, digits and _.-


def shown_name(source: Path | str) -> Path | str:
    """An input in messages and as a key: a path as it is, an address without user and password."""
    if isinstance(source, Path):
        return source
    return f"camera {source}" if source.isdecimal() else SECRETS.sub("", source)


def scheme_of(address: str) -> str:
    """What is before "://" in an address."""
    return address.partition("://")[0].lower()


def address_content(address: str) -> tuple[str, str]:
    """What is at an address: IMAGE, UNREAD with its format, or VIDEO, which FFmpeg has to open.

    What the server calls it decides, and its first bytes; InputError where no web server answers.
    """
    if scheme_of(address) not in HTTP:
        return VIDEO, ""
    words, head = first_bytes(address)
    kind = sniff(head)
    if words.startswith(VIDEO_TYPES):
        return VIDEO, ""
    if kind.what == OTHER:
        return (IMAGE if words.startswith("image/") else VIDEO), ""
    return kind.what, kind.name


def read_picture(address: str) -> np.ndarray:
    """The picture (H,W,3) uint8 RGB at an address; InputError where there is none."""
    shown = shown_name(address)
    with explained(address), closing(ask(address)) as answer:
        data = answer.read(MOST_BYTES)
        expected = int(answer.headers.get("Content-Length") or len(data))
    if len(data) < expected:
        raise InputError(f"{shown}: ends after {len(data):,} of {expected:,} bytes; try again")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            return read_image(path)
        except InputError as error:
            raise InputError(f"{shown}: {str(error).removeprefix(f'{path}: ')}") from None


def first_bytes(address: str) -> tuple[str, bytes]:
    """The server's type of what is at an address, "" for none, and how it begins.

    Nothing is read of what is called a video: a camera may serve one watcher at a time.
    """
    with explained(address), closing(ask(address)) as answer:
        words = answer.headers.get_content_type() if answer.headers["Content-Type"] else ""
        return words, b"" if words.startswith(VIDEO_TYPES) else answer.read(HEAD)


def ask(address: str) -> http.client.HTTPResponse:
    """The server's answer; OSError, HTTPException or ValueError where there is none."""
    parts = urlsplit(address)
    login, _, place = parts.netloc.rpartition("@")
    url = quote(parts._replace(netloc=place, fragment="").geturl(), safe=SAFE)
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=unchecked_tls())
    ]
    if login:
        known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        known.add_password(None, url, *map(unquote, login.partition(":")[::2]))
        handlers.append(urllib.request.HTTPDigestAuthHandler(known))
        handlers.append(urllib.request.HTTPBasicAuthHandler(known))
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})
    return urllib.request.build_opener(*handlers).open(request, timeout=OPEN_TIMEOUT)


def unchecked_tls() -> ssl.SSLContext:
    """TLS without a check of certificates, as FFmpeg does it: cameras sign for themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turns an error of a server, or of reaching it, into an InputError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        hint = "check the address"
        if error.code == HTTPStatus.UNAUTHORIZED:
            hint = f"give user and password as in {scheme_of(address)}://USER:PASSWORD@HOST/..."
        words = f"HTTP {error.code} {error.reason}"
        raise InputError(f"{shown_name(address)}: {words}; {hint}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)  # of a URLError, the exception or text inside
        if isinstance(reason, http.client.HTTPException):
            reason = repr(reason)  # its text alone may be what the server said
        words = getattr(reason, "strerror", None) or reason
        hint = "check address and network"
        raise InputError(f"{shown_name(address)}: cannot be reached: {words}; {hint}") from error


def why_no_video(address: str) -> str:
    """Why FFmpeg cannot open an address; InputError where it is not reached."""
    if scheme_of(address) in HTTP:
        words, _ = first_bytes(address)
        return (
            "the server answers, but this is no picture or video: its type is "
            f"{words or 'not told'}; give the address of the picture, video or stream itself"
        )
    return "FFmpeg can open no video there; check address, network, user and password"
