"""Addresses in a network: whether there is a picture or a video, and the pictures' pixels."""

import http.client
import re
import urllib.error
import urllib.request
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from src.data.files.file_kinds import HEAD, IMAGE, OTHER, UNREAD, VIDEO, sniff
from src.data.files.strange_files import plain_text, strange_file
from src.data.images import read_image
from src.prediction.unreachable import (
    OPEN_TIMEOUT,
    RTSP,
    explained,
    rtsp_answer,
    scheme_of,
    shown_address,
    try_to_connect,
    unchecked_tls,
)
from src.runtime.errors import InputError
from src.runtime.version import __version__

HTTP = ("http", "https")
AGENT = f"predict.py/{__version__}"  # some servers refuse Python's own name
MOST_BYTES = 2**29  # of a picture
SAFE = "%/:=&?~+!$,;'@()*[]"  # what an address may have beside letters, digits and _.-
GIVE_FILE = "give the address of the picture, video or stream itself"


def address_kind(address: str) -> str:
    """IMAGE for a picture at an address, else VIDEO, which FFmpeg has to open.

    Content decides: what the server calls it, and its first bytes.

    Raises:
        InputError: no server answers, or it has nothing there; or the format is not read.
    """
    if scheme_of(address) not in HTTP:
        try_to_connect(address)
        return VIDEO
    words, head = first_bytes(address)
    kind = sniff(head)
    if words.startswith(("video/", "multipart/")):
        return VIDEO
    if kind.what == UNREAD:
        hint = "which is not read; convert to JPEG, PNG or MP4"
        raise InputError(f"{shown_address(address)}: {kind.name}, {hint}")
    is_image = kind.what == IMAGE or (kind.what == OTHER and words.startswith("image/"))
    return IMAGE if is_image else VIDEO


def read_picture(address: str) -> np.ndarray:
    """The picture (H,W,3) uint8 RGB at an address; InputError where there is none."""
    shown = shown_address(address)
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
        head = b""
        while not words.startswith(("video/", "multipart/")) and len(head) < HEAD:
            if not (more := answer.read1(HEAD - len(head))):
                break
            head += more
    return words, head


def ask(address: str) -> http.client.HTTPResponse:
    """The server's answer; OSError, HTTPException or ValueError where there is none."""
    parts = urlsplit(address)
    login, _, place = parts.netloc.rpartition("@")
    url = quote(parts._replace(netloc=place, fragment="").geturl(), safe=SAFE)
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})
    https = urllib.request.HTTPSHandler(context=unchecked_tls())
    try:
        return urllib.request.build_opener(https).open(request, timeout=OPEN_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.UNAUTHORIZED or not login:
            raise
        ways = " ".join(error.headers.get_all("WWW-Authenticate", [])).lower()
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    user, _, password = login.partition(":")
    known.add_password(None, url, unquote(user), unquote(password))
    handlers = urllib.request.HTTPBasicAuthHandler, urllib.request.HTTPDigestAuthHandler
    opener = urllib.request.build_opener(https, handlers["digest" in ways](known))
    return opener.open(request, timeout=OPEN_TIMEOUT)


def why_no_video(address: str) -> str:
    """What is at an address that FFmpeg cannot open; InputError where it is not reached."""
    if scheme_of(address) in HTTP:
        words, head = first_bytes(address)
        strange = re.split("[,;]", strange_file(head))[0]  # without what to do with a file
        what = strange or words or "of no type that the server tells"
        if begin := plain_text(head)[:40]:
            what += f", which begins {begin!r}"
        return f"the server answers, but this is no picture or video: it is {what}; {GIVE_FILE}"
    if scheme_of(address) in RTSP:
        rtsp_answer(address)
        return "the server answers, but sends no video that can be read; try it in a player"
    return f"no video there within {OPEN_TIMEOUT:g} s; check address, network and login"
