"""Servers of videos on this machine."""

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
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


@contextmanager
def served(handler) -> Iterator[str]:
    """The address of a server with this handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Answers(BaseHTTPRequestHandler):
    """Answers each path with what `answers` holds: status, type, "" for none, and content.

    What is called "/private" is for the user "me" with the password "secret" alone.
    """

    answers: ClassVar[dict[str, tuple[int, str, bytes]]] = {}

    def do_GET(self):
        status, kind, content = self.answers.get(self.path, (404, "text/html", b"<html>none"))
        login = base64.b64encode(b"me:secret").decode()
        if self.path == "/private" and self.headers["Authorization"] != f"Basic {login}":
            status, content = 401, b""
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

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
