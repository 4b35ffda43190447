"""A small HTTP server that answers as a test says, and keeps what it was asked: a stand-in for any plugin there is."""

from __future__ import annotations

import json
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    body: Any
    content_type: str | None


@dataclass
class Plugin:
    """What the server answers, by path: a status and a body, or pieces to stream; and what it was asked."""

    endpoint: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, Callable[[Asked], tuple[int, bytes | Iterator[bytes]]]] = field(default_factory=dict)

    def says(self, path: str, status: int, body: object) -> None:
        """Answer `path` always so; bytes as they are, all else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = lambda _: (status, content)


@contextmanager
def serving(socket: Path | None = None) -> Iterator[Plugin]:
    """Serve on a free port of this machine, or on a unix socket."""
    plugin = Plugin()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked = Asked(
                self.command, self.path, json.loads(self.rfile.read(length)), self.headers.get("Content-Type")
            )
            plugin.asked.append(asked)
            status, body = plugin.answers[self.path](asked)
            self.send_response(status)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for piece in body:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            except ConnectionAbortedError:  # a test breaks the stream so
                self.close_connection = True

        do_GET = do_POST = _answer  # noqa: N815

        def address_string(self) -> str:
            return "test"

        def log_message(self, *args: object) -> None:
            """Stay quiet."""

    kind = socketserver.ThreadingTCPServer if socket is None else socketserver.ThreadingUnixStreamServer
    with kind(("127.0.0.1", 0) if socket is None else str(socket), Handler) as server:  # type: ignore[arg-type]
        server.daemon_threads = True
        plugin.endpoint = f"http://127.0.0.1:{server.server_address[1]}" if socket is None else f"unix:{socket}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield plugin
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def plugin() -> Iterator[Plugin]:
    """A plugin on a port of this machine."""
    with serving() as running:
        yield running


@pytest.fixture
def socket_plugin(tmp_path: Path) -> Iterator[Plugin]:
    """A plugin on a unix socket."""
    with serving(tmp_path / "plugin.sock") as running:
        yield running
