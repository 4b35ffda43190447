"""A Snakemake to run tiny workflows with, and plugins to run them against."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import msgspec
import pytest
import yaml

from flashlink.site.config import Batch, Containers, Site, Volumes
from snakemake_executor_plugin_interlink.ledger import Entry, Plan, read

PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


def until(true: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


class Workflow:
    """A working directory with a Snakefile, and Snakemake runs in it."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.started: list[subprocess.Popen[str]] = []

    @staticmethod
    def until(true: Callable[[], object], what: str, seconds: float = 30) -> None:
        until(true, what, seconds)

    def exists(self, name: str) -> bool:
        return (self.folder / name).exists()

    def write(self, snakefile: str) -> None:
        (self.folder / "Snakefile").write_text(snakefile)

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        fixed = ["--executor", "interlink", "--jobs", "9", "--scheduler", "greedy", "--nolock", "--rerun-incomplete"]
        fixed += ["--interlink-endpoint", self.endpoint, "--interlink-poll-seconds", "0.1", "--latency-wait", "2"]
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *fixed, *options],
            cwd=self.folder,
            env={**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *options: str, **environment: str) -> tuple[int, str]:
        process = self.start(*options, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def ledger(self) -> list[Plan | Entry]:
        path = self.folder / ".snakemake/interlink/ledger.jsonl"
        return list(read(path.read_bytes())) if path.exists() else []

    def records(self) -> list[Path]:
        return list((self.folder / ".snakemake/interlink/pods").glob("*"))

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


class Plugin:
    """A real ``flashlink plugin``, its pods host processes of this machine."""

    def __init__(self, folder: Path, mounts: Path) -> None:
        folder.mkdir(mode=0o700)
        site = Site(
            name="local",
            listen=f"unix:{folder / 's'}",
            state=str(folder / "state"),
            batch=Batch(poll_seconds=0.1, cpus=4),
            containers=Containers(runtime="host", path=[str(Path(sys.executable).parent)]),
            volumes=Volumes(host_paths=[str(mounts)]),
        )
        self.endpoint = site.listen
        self._folder = folder
        (folder / "site.yaml").write_text(yaml.safe_dump(msgspec.to_builtins(site)))
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "flashlink", "plugin", "--config", str(self._folder / "site.yaml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(self._answers, "the plugin answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self._folder / "log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.endpoint.removeprefix("unix:")) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def drained(self) -> bool:
        return not any((self._folder / "state" / "work").iterdir())

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class FakePlugin(ThreadingHTTPServer):
    """A fake interLink plugin: the plainest that could exist, unlike flashlink's own.

    It runs the container's command at once, knows nothing but the routes, takes the same pod twice for two jobs, and
    loses everything when it ends. So what works against it works against plugins of others.
    """

    request_queue_size = 128

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.refusal = ""
        #: So many of the first pods are never known again.
        self.forgets = 0
        #: Deletions wait for it.
        self.hangs = Event()
        self.hangs.set()
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
                env={"PATH": PATH, "HOME": str(self.folder), **env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return {"PodUID": metadata["uid"], "PodJID": f"fake-{len(self.created)}"}

    def status(self, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
        forgotten = [pod["metadata"]["uid"] for pod in self.created[: self.forgets]]
        return [self._status(pod["metadata"]) for pod in pods if pod["metadata"]["uid"] not in forgotten]

    def _status(self, metadata: dict[str, Any]) -> dict[str, Any]:
        process = self.running.get(metadata["uid"])
        containers = []
        if process:
            code = process.poll()
            state = {"running": {}} if code is None else {"terminated": {"exitCode": code if code >= 0 else 128 - code}}
            containers = [{"name": "snakemake", "state": state}]
        return {"name": metadata["name"], "UID": metadata["uid"], "namespace": "default", "containers": containers}

    def delete(self, pod: dict[str, Any]) -> None:
        self.hangs.wait(30)
        uid = pod["metadata"]["uid"]
        self.deleted.append(uid)
        process = self.running.pop(uid, None)
        if process and process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()

    def close(self) -> None:
        self.shutdown()
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.server_close()


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

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be quiet."""


@contextmanager
def workflow_in(folder: Path, endpoint: str) -> Iterator[Workflow]:
    folder.mkdir()
    workflow = Workflow(folder, endpoint)
    try:
        yield workflow
    finally:
        workflow.close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakePlugin]:
    (tmp_path / "fake").mkdir()
    fake = FakePlugin(tmp_path / "fake")
    thread = Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield fake
    fake.close()
    thread.join()


@pytest.fixture
def foreign(tmp_path: Path, fake: FakePlugin) -> Iterator[Workflow]:
    """A workflow on the fake plugin."""
    with workflow_in(tmp_path / "w", fake.endpoint) as workflow:
        yield workflow


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    plugin = Plugin(tmp_path / "p", tmp_path)
    yield plugin
    plugin.close()


@pytest.fixture
def workflow(tmp_path: Path, plugin: Plugin) -> Iterator[Workflow]:
    """A workflow on a real plugin."""
    with workflow_in(tmp_path / "w", plugin.endpoint) as workflow:
        yield workflow
