"""A fake interLink plugin: the plainest that could exist, unlike flashlink's own.

It runs the first container's command at once, knows nothing but the routes, takes the same pod twice for two jobs, and
loses everything when it ends. So what works against it works against plugins of others.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any


class FakePlugin(ThreadingHTTPServer):
    """The server, and what it knows: the calls, and the processes of its pods by uid."""

    def __init__(self, folder: Path, path: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.path = folder, path
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.refusal = ""
        self.lock = Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def create(self, request: dict[str, Any]) -> dict[str, str]:
        metadata, container = request["pod"]["metadata"], request["pod"]["spec"]["containers"][0]
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        with self.lock, (self.folder / f"{metadata['uid']}.log").open("wb") as log:
            self.created.append(request["pod"])
            self.running[metadata["uid"]] = subprocess.Popen(
                [word.replace("$$", "$") for word in container["command"]],
                cwd=container["workingDir"],
                env={"PATH": self.path, "HOME": str(self.folder), **env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return {"PodUID": metadata["uid"], "PodJID": f"fake-{len(self.created)}"}

    def status(self, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._status(pod["metadata"]) for pod in pods]

    def _status(self, metadata: dict[str, Any]) -> dict[str, Any]:
        process = self.running.get(metadata["uid"])
        containers = []
        if process:
            code = process.poll()
            state = {"running": {}} if code is None else {"terminated": {"exitCode": code if code >= 0 else 128 - code}}
            containers = [{"name": "snakemake", "state": state}]
        return {"name": metadata["name"], "UID": metadata["uid"], "namespace": "default", "containers": containers}

    def delete(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        self.deleted.append(uid)
        process = self.running.pop(uid, None)
        if process and process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


class _Handler(BaseHTTPRequestHandler):
    server: FakePlugin

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/create":
            if self.server.refusal:
                self._answer(500, self.server.refusal.encode())
                return
            self._answer(200, json.dumps(self.server.create(body)).encode())
        elif self.path == "/delete":
            self.server.delete(body)
            self._answer(200, b"")

    def do_GET(self) -> None:
        body = self._body()
        if self.path == "/status":
            self._answer(200, json.dumps(self.server.status(body)).encode())
        elif self.path == "/getLogs":
            self._answer(200, (self.server.folder / f"{body['PodUID']}.log").read_bytes())

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@contextmanager
def serve(folder: Path, path: str) -> Iterator[FakePlugin]:
    """A running fake plugin; its pods find programs in `path` and end with it."""
    folder.mkdir(parents=True, exist_ok=True)
    plugin = FakePlugin(folder, path)
    thread = Thread(target=plugin.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield plugin
    finally:
        plugin.shutdown()
        thread.join()
        for process in plugin.running.values():
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
        plugin.server_close()
