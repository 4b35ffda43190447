"""Status calls of one pod each, one after the other on one connection, against a bare route of the same server.

interLink asks so: a sweep over N pods takes 5 s and N times the latency. The bare route reads the same body and sends
it back, by the same framework and server as the plugin's, in a process of its own. Both are asked in turns, in short
blocks, so that whatever else the machine does falls on both.

Run: .venv/bin/python benchmarks/status_rate.py [CALLS]
"""

import asyncio
import contextlib
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PODS = 100
BLOCK = 250


def pod(number: int) -> dict[str, Any]:
    """A pod as the virtual kubelet sends it with every status call: of ordinary size, with what the cluster adds."""
    tolerations = [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for what in ("not-ready", "unreachable")
    ]
    token = {"name": "kube-api-access-x7b2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    container = {
        "name": "main",
        "image": "docker.io/library/python:3.11-slim",
        "command": ["python3", "-c", "import time; time.sleep(600)"],
        "env": [{"name": f"SETTING_{index}", "value": f"value {index} of {number}"} for index in range(10)],
        "resources": {"limits": {"cpu": "10m", "memory": "16Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, {**token, "readOnly": True}],
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"step-{number}",
            "namespace": "production",
            "uid": str(uuid.uuid4()),
            "resourceVersion": str(100000 + number),
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app": "flash", "batch.kubernetes.io/job-name": f"step-{number}"},
            "annotations": {"kubernetes.io/description": "one step of a production"},
        },
        "spec": {
            "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": token["name"], "projected": {"sources": None}}],
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "serviceAccountName": "default",
            "nodeName": "virtual-node",
            "tolerations": tolerations,
        },
        "status": {"phase": "Pending", "qosClass": "Guaranteed"},
    }


class Client:
    """One connection, kept open; sends as Go's client does, headers and body at once."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: bytes) -> bytes:
        """The body of the answer, which must be a 200."""
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: HTTP {answer.status}: {content.decode(errors='replace')}")
        return content


def times(client: Client, path: str, bodies: list[bytes]) -> list[float]:
    """Seconds of one call for each body."""
    took = []
    for body in bodies:
        began = time.perf_counter()
        client.call("GET", path, body)
        took.append(time.perf_counter() - began)
    return took


@contextlib.contextmanager
def process(*arguments: str, **environment: str) -> Iterator[str]:
    """A server; gives the endpoint, which is the last word that it prints first."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def echo() -> None:
    """Serve the bare route until SIGTERM."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from flashlink.plugin.door import Door
    from flashlink.site import listen

    async def bare(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    app = Starlette(routes=[Route("/bare", bare)])
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
    with Door(listen.parse("127.0.0.1:0")) as door:
        door.socket.listen()
        print(door.endpoint, flush=True)
        asyncio.run(uvicorn.Server(config).serve(sockets=[door.socket]))


def start_pods(client: Client) -> list[bytes]:
    """Bodies of status calls of pods that run, or wait in the queue."""
    pods = [pod(number) for number in range(PODS)]
    for one in pods:
        answer = json.loads(client.call("POST", "/create", json.dumps({"pod": one}).encode()))
        one["metadata"]["annotations"]["JobID"] = answer["PodJID"]
    return [json.dumps([one]).encode() for one in pods]


def end_pods(client: Client, bodies: list[bytes], state: Path) -> None:
    """Delete the pods and wait until nothing of them is left."""
    for body in bodies:
        client.call("POST", "/delete", json.dumps(json.loads(body)[0]).encode())
    while any((state / "work").iterdir()):
        time.sleep(0.1)


def main() -> None:
    """Print the rates."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory(prefix="flashlink-status-") as folder:
        plugin = ("-m", "flashlink", "plugin", "--listen", "127.0.0.1:0", "--state", folder, "--json-logs")
        site = {"FLASHLINK_SITE__CONTAINERS__RUNTIME": "host", "FLASHLINK_SITE__BATCH__PODS": "4"}
        with process(*plugin, **site) as endpoint, process(__file__, "--echo") as bare_endpoint:
            status, bare = Client(endpoint), Client(bare_endpoint)
            bodies = start_pods(status)
            time.sleep(2)
            ours: list[float] = []
            theirs: list[float] = []
            block = [bodies[index % PODS] for index in range(BLOCK)]
            while len(ours) < calls:
                ours += times(status, "/status", block)
                theirs += times(bare, "/bare", block)
            end_pods(status, bodies, Path(folder))
    report(ours, theirs, len(bodies[0]))


def report(ours: list[float], theirs: list[float], size: int) -> None:
    """One line each, then what the one reaches of the other."""
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, bodies of {size} bytes")
    for name, took in (("status", ours), ("bare route", theirs)):
        median = statistics.median(took)
        print(f"{name}: {len(took) / sum(took):.0f} calls/s, median {1000 * median:.3f} ms, {len(took)} calls")
    print(f"status reaches {sum(theirs) / sum(ours):.1%} of the bare route, {_ratio(ours, theirs):.1%} by the medians")


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(theirs) / statistics.median(ours)


if __name__ == "__main__":
    if sys.argv[1:] == ["--echo"]:
        echo()
    else:
        main()
