"""Servers of videos on this machine."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import md5
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import ClassVar

import cv2
import numpy as np


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder's files."""

    def log_message(self, *arguments):
        pass


class Camera(BaseHTTPRequestHandler):
    """Serves JPEGs without end, one after another, as web cameras do."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((48, 64, 3), (0, 0, 200), np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        try:
            while True:
                self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(0.02)
        except OSError:  # who watched has left
            pass

    def log_message(self, *arguments):
        pass


class RtspCamera(StreamRequestHandler):
    """Sends a video (MPEG-TS) over RTSP, in RTP packets between the answers (RFC 2326, 2250)."""

    video = b""  # the server's
    SDP = "v=0\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
    TRACK = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
    PACKET = 7 * 188  # bytes

    def handle(self):
        while line := self.rfile.readline().decode():
            method, head = line.split()[0], {}
            while entry := self.rfile.readline().decode().strip():
                name, _, head[name.lower()] = entry.partition(": ")
            status, more, body = "200 OK", "", ""
            if method == "DESCRIBE":
                more, body = "Content-Type: application/sdp\r\n", self.SDP
            if method == "SETUP":  # in datagrams first, which are refused
                is_tcp = "TCP" in head["transport"]
                status, more = (status, self.TRACK) if is_tcp else ("461 Unsupported", "")
            more += f"CSeq: {head['cseq']}\r\nContent-Length: {len(body)}\r\n"
            self.wfile.write(f"RTSP/1.0 {status}\r\n{more}\r\n{body}".encode())
            if method == "PLAY":
                with suppress(OSError):  # who watched has left
                    self.play()

    def play(self):
        for number, start in enumerate(range(0, len(self.video), self.PACKET)):
            rtp = struct.pack(">BBHII", 0x80, 33, number, number * 9000, 1)
            rtp += self.video[start : start + self.PACKET]
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)


@contextmanager
def rtsp_served(video: bytes) -> Iterator[str]:
    """The address of an RTSP server of this video."""
    handler = type("Handler", (RtspCamera,), {"video": video})
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()


@contextmanager
def served(handler) -> Iterator[str]:
    """The address of a server with this handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Answers(BaseHTTPRequestHandler):
    """Answers each path with what `answers` holds: status, type, "" for none, and content.

    What is called "/private" is for the user "me" with the password "secret" alone, "/digest" for
    who answers the question that hides the password.
    """

    LOGIN = "me:camera:secret"
    answers: ClassVar[dict[str, tuple[int, str, bytes]]] = {}

    def do_GET(self):
        status, kind, content = self.answers.get(self.path, (404, "text/html", b"<html>none"))
        login = base64.b64encode(b"me:secret").decode()
        if self.path == "/private" and self.headers["Authorization"] != f"Basic {login}":
            status, content, way = 401, b"", 'Basic realm="camera"'
        if self.path == "/digest" and self.digest() not in (self.headers["Authorization"] or ""):
            status, content, way = 401, b"", 'Digest realm="camera", nonce="7"'
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", way)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def digest(self) -> str:
        own, asked = (md5(text.encode()).hexdigest() for text in (self.LOGIN, "GET:/digest"))
        return md5(f"{own}:7:{asked}".encode()).hexdigest()  # RFC 2069

    def log_message(self, *arguments):
        pass


@contextmanager
def answering(reply: bytes | None) -> Iterator[int]:
    """The port of a server that answers whatever it is sent with these bytes; None for nothing."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                clients.append(client)
                if reply is not None and client.recv(4096):
                    client.sendall(reply)
                    client.close()

    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    for client in clients:
        client.close()
