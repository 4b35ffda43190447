"""How long the end of a huge log takes beside that of a small one, and how soon a followed line arrives.

Both logs are written by real pods of a plugin process on its local site, and asked for through interLink's getLogs.

Run: .venv/bin/python benchmarks/log_tail.py [MEGABYTES]

At a plugin that runs already, at Slurm or behind an HTCondor-CE say, only the delays are measured, of lines and of
states: .venv/bin/python benchmarks/log_tail.py --at HOST:PORT IMAGE. IMAGE has GNU date, and the clocks of worker and
plugin agree.
"""

import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Any

SMALL = 1
TIMES = 50


def pod(script: str, image: str = "any") -> dict[str, Any]:
    """A pod whose one container runs `script`."""
    uid = str(uuid.uuid4())
    container = {"name": "main", "image": image, "command": ["sh", "-c", script]}
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    metadata = {"name": f"pod-{uid[:8]}", "namespace": "default", "uid": uid, "annotations": {}}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"metadata": metadata, "spec": spec}


class Plugin:
    """A client of the plugin at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._address = host, int(port)

    def call(self, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        """The answer, which must be a 200, still to be read."""
        connection = http.client.HTTPConnection(*self._address, timeout=600)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{path}: HTTP {answer.status}: {answer.read().decode(errors='replace')}")
        return answer

    def create(self, script: str, image: str = "any") -> dict[str, Any]:
        """A pod that runs."""
        one = pod(script, image)
        self.call("POST", "/create", {"pod": one}).read()
        return one

    def wait(self, one: dict[str, Any]) -> None:
        """Until the pod has ended well."""
        while "terminated" not in (state := self.state(one)):
            time.sleep(0.2)
        if state["terminated"]["exitCode"]:
            raise SystemExit(f"a pod has failed: {state}")

    def state(self, one: dict[str, Any]) -> dict[str, Any]:
        """Of the pod's container, as interLink reads it."""
        state: dict[str, Any] = json.loads(self.call("GET", "/status", [one]).read())[0]["containers"][0]["state"]
        return state

    def logs(self, one: dict[str, Any], **options: Any) -> http.client.HTTPResponse:
        """The log, as far as `options` go."""
        metadata = one["metadata"]
        names = {"Namespace": metadata["namespace"], "PodUID": metadata["uid"], "PodName": metadata["name"]}
        return self.call("GET", "/getLogs", {**names, "ContainerName": "main", "Opts": options})

    def delete(self, one: dict[str, Any]) -> None:
        """End the pod and remove its log."""
        self.call("POST", "/delete", one).read()


@contextlib.contextmanager
def plugin(state: str) -> Iterator[Plugin]:
    """A plugin that keeps all of each log."""
    command = [sys.executable, "-m", "flashlink", "plugin", "--listen", "127.0.0.1:0", "--state", state, "--json-logs"]
    site = {"FLASHLINK_SITE__CONTAINERS__RUNTIME": "host", "FLASHLINK_SITE__LIMITS__LOG_SIZE": "0"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **site}, text=True, **streams) as server:
        try:
            assert server.stdout is not None
            yield Plugin(server.stdout.readline().split()[-1])
        finally:
            server.terminate()


def tails(client: Plugin, megabytes: int) -> list[float]:
    """Seconds of each request for the last ten lines of a log of so many megabytes."""
    line = "a line of the usual length, as programs of physics write them by the million"
    one = client.create(f"yes '{line}' | head -c {megabytes}000000")
    client.wait(one)
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        shown = client.logs(one, Tail=10).read()
        took.append(time.perf_counter() - began)
        if shown.count(b"\n") not in (9, 10):
            raise SystemExit(f"not ten lines: {shown!r}")
    client.delete(one)
    return took


def delays(client: Plugin, image: str = "any") -> list[float]:
    """Seconds from the writing of lines to their arrival at a follower."""
    one = client.create("for i in $(seq 40); do date +%s.%N; sleep 0.37; done", image)
    found = []
    with client.logs(one, Follow=True) as answer:
        while line := answer.readline():
            found.append(time.time() - float(line))
    client.delete(one)
    return found


def state_delays(client: Plugin, image: str) -> tuple[float, float]:
    """Seconds from the start of a container, and from its end, to a status that tells of it."""
    one = client.create("date +%s.%N; sleep 10; date +%s.%N", image)
    seen = []
    for what in ("running", "terminated"):
        while what not in client.state(one):
            time.sleep(0.05)
        seen.append(time.time())
    told = [float(line) for line in client.logs(one).read().split()]
    client.delete(one)
    return seen[0] - told[0], seen[1] - told[1]


def measure_at(endpoint: str, image: str) -> None:
    """Print the delays at a plugin that runs."""
    client = Plugin(endpoint)
    late = delays(client, image)
    starts, ends = zip(*(state_delays(client, image) for _ in range(3)), strict=True)
    print(f"{len(late)} followed lines arrive after {statistics.median(late):.2f} s, at worst {max(late):.2f} s")
    print(f"3 starts are told after {max(starts):.2f} s at worst, 3 ends after {max(ends):.2f} s")


def main() -> None:
    """Print one line each."""
    if sys.argv[1:2] == ["--at"]:
        measure_at(*sys.argv[2:])
        return
    large = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="flashlink-logs-") as folder, plugin(folder) as client:
        small_log, large_log = (statistics.median(tails(client, size)) for size in (SMALL, large))
        late = delays(client)
        time.sleep(2)  # the plugin removes the pods' folders
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; medians of {TIMES}")
    print(f"last 10 lines of {large} MB: {1000 * large_log:.2f} ms, of {SMALL} MB: {1000 * small_log:.2f} ms")
    print(f"ratio {large_log / small_log:.2f}")
    print(f"a followed line arrives after {statistics.median(late):.3f} s, at worst {max(late):.3f} s")


if __name__ == "__main__":
    main()
