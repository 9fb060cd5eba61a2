"""Why nothing comes from an address in a network, with what to do."""

import http.client
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from src.runtime.errors import InputError

OPEN_TIMEOUT = 5.0  # seconds without anything from an address
SECRETS = re.compile(r"(?<=://)[^/?#]*@")  # user and password in an address
PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}
RTSP = ("rtsp", "rtsps")
STATUS_LINE = re.compile(rb"RTSP/\d\.\d (\d{3}) ?([^\r\n]*)")
STATUS = {  # of an answer, what it means
    400: "the server does not understand the request; check the address",
    401: "wants a user and password, or others; give them as in {scheme}://USER:PASSWORD@{host}/...",
    403: "the server refuses; it may want another user and password, or serve browsers only",
    404: "nothing of this name is there; check what follows the host's name",
    407: "the proxy wants a user and password; set them in http_proxy",
    410: "it was there and is gone; check what follows the host's name",
    429: "asked too often; wait, then try again",
}
SERVER_FAULT = "the server has a fault; try again later, or look at its log"


def shown_address(address: str) -> str:
    """The address without user and password; a camera's number with a word."""
    return f"camera {address}" if address.isdecimal() else SECRETS.sub("", address)


def scheme_of(address: str) -> str:
    """What is before "://" in an address."""
    return address.partition("://")[0].lower()


def place_of(address: str) -> tuple[str, int]:
    """Host and port of an address; ValueError for a port that is none."""
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or PORTS.get(scheme_of(address), 0)


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turns what goes wrong with a server into an InputError that says what to do."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"{shown_address(address)}: {explanation(error, address)}") from error


def explanation(error: Exception, address: str) -> str:
    """What an error with a server means, and what to do."""
    if isinstance(error, HTTPError):
        words = http.client.responses.get(error.code, error.reason)
        return meaning(error.code, words, "HTTP", address)
    connected = not isinstance(error, URLError)
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    try:
        host, port = place_of(address)
    except ValueError as wrong:
        return f"is no address: {wrong}; check --input"
    if isinstance(error, socket.gaierror):
        reason = f"the name {host} is not known here ({error.strerror})"
        return f"{reason}; check its spelling, and this machine's network"
    if isinstance(error, ConnectionRefusedError):
        reason = f"nothing listens at port {port} of {host} (connection refused)"
        return f"{reason}; check the port, and whether the server runs"
    if isinstance(error, TimeoutError):
        return silence(host, port, connected=connected)
    if isinstance(error, ssl.SSLError):
        return f"no TLS at port {port} of {host} ({error.reason}); is it http:// or rtsp:// there?"
    if isinstance(error, (http.client.HTTPException, ConnectionError)):
        is_cut = isinstance(error, (http.client.IncompleteRead, ConnectionError))
        what = "ends the connection early" if is_cut else "does not speak HTTP"
        return f"port {port} of {host} {what}; check scheme and port"
    words = getattr(error, "strerror", None) or getattr(error, "reason", error)
    return f"cannot be reached: {words}; check address and network"


def silence(host: str, port: int, *, connected: bool) -> str:
    """What it means that nothing comes in time."""
    if connected:
        reason = f"port {port} of {host} is open, but nothing comes within {OPEN_TIMEOUT:g} s"
        return f"{reason}; check scheme and port, and the server"
    reason = f"no answer from {host} within {OPEN_TIMEOUT:g} s"
    return f"{reason}; check address, network and firewall"


def meaning(code: int, words: str, protocol: str, address: str) -> str:
    """What a server's refusal means, and what to do."""
    text = SERVER_FAULT if code >= 500 else "the server refuses; check the address"
    text = STATUS.get(code, text).format(scheme=scheme_of(address), host=place_of(address)[0])
    return f"{text} ({protocol} {code} {words})"


def try_to_connect(address: str) -> None:
    """InputError where no server listens at an address of RTSP, RTMP or TCP."""
    with explained(address):
        host, port = place_of(address)
        listens = "listen" in urlsplit(address).query  # FFmpeg then waits for the other side
        if host and port and scheme_of(address) in (*PORTS, "tcp") and not listens:
            connect(address).close()


def connect(address: str) -> socket.socket:
    """A connection to the server; URLError where there is none."""
    try:
        return socket.create_connection(place_of(address), timeout=OPEN_TIMEOUT)
    except OSError as error:
        raise URLError(error) from error


def unchecked_tls() -> ssl.SSLContext:
    """TLS without a check of certificates, as FFmpeg does it: cameras sign for themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def rtsp_answer(address: str) -> None:
    """InputError with what an RTSP server says to an address, unless it has something there."""
    plain = shown_address(address)
    ask = f"DESCRIBE {plain} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n"
    if login := urlsplit(address).netloc.rpartition("@")[0]:
        ask += f"Authorization: Basic {b64encode(unquote(login).encode()).decode()}\r\n"
    with explained(address), connect(address) as plain_socket:
        server = plain_socket
        if scheme_of(address) == "rtsps":
            server = unchecked_tls().wrap_socket(plain_socket)
        server.sendall(f"{ask}\r\n".encode())
        with server.makefile("rb") as lines:
            line = lines.readline(1000)
    found = STATUS_LINE.match(line)
    if not found:
        raise InputError(f"{plain}: what answers does not speak RTSP; check scheme and port")
    code = int(found[1])
    if code != 200:
        words = found[2].decode("ascii", "replace").strip()
        raise InputError(f"{plain}: {meaning(code, words, 'RTSP', address)}")
