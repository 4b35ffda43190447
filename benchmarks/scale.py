"""Ten thousand pods in one plugin: creates, status calls, sweeps, memory, and a restart after SIGKILL.

The pods are real and so is the batch system, the embedded one: a few run, the others wait in its queue. Run:
.venv/bin/python benchmarks/scale.py [PODS]
"""

import contextlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from status_rate import Client, end_pods, pod, process, times

CONCURRENT = 1000
CALLS = 3000
BLOCK = 250


class Plugin:
    """A plugin process on a state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> float:
        """Start it; the seconds until it answers."""
        command = ["-m", "flashlink", "plugin", "--listen", "127.0.0.1:0", "--state", str(self.state), "--json-logs"]
        site = {"RUNTIME": ("CONTAINERS", "host"), "PODS": ("BATCH", "20000"), "CPUS": ("BATCH", "1")}
        environment = {f"FLASHLINK_SITE__{table}__{key}": value for key, (table, value) in site.items()}
        began = time.perf_counter()
        with (self.state.parent / "plugin.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.endpoint = self.process.stdout.readline().split()[-1]
        Client(self.endpoint).call("GET", "/readyz", b"")
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it as a machine that loses its power does."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def memory(self) -> str:
        """Resident now and at most, in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        now, most = (
            int(found[1]) // 1024 for key in ("RSS", "HWM") if (found := re.search(rf"Vm{key}:\s+(\d+)", status))
        )
        return f"{now} MiB, at most {most} MiB"

    def calls(self) -> dict[str, int]:
        """How often the batch system was called, by the name of the call."""
        text = Client(self.endpoint).call("GET", "/metrics", b"").decode()
        found = re.findall(r'flashlink_batch_call_seconds_count\{call="(\w+)"[^}]*\} ([0-9.]+)', text)
        return {name: int(float(count)) for name, count in found}


@contextlib.contextmanager
def running(state: Path) -> Iterator[Plugin]:
    """A plugin whose pods are all deleted at the end."""
    plugin = Plugin(state)
    print(f"start, no pods: {plugin.start():.2f} s")
    try:
        yield plugin
    finally:
        assert plugin.process is not None
        plugin.process.terminate()
        plugin.process.wait()


def waiting(index: int) -> dict[str, Any]:
    """A pod that asks for the only core, so that one runs and all others wait."""
    one = pod(index)
    for amounts in one["spec"]["containers"][0]["resources"].values():
        amounts["cpu"] = "1"
    return one


def create(endpoint: str, pods: list[dict[str, Any]], threads: int) -> list[float]:
    """Create pods, so many at a time; seconds of each answer."""
    clients = [Client(endpoint) for _ in range(threads)]

    def work(index: int) -> list[float]:
        took = []
        for one in pods[index::threads]:
            began = time.perf_counter()
            answer = json.loads(clients[index].call("POST", "/create", json.dumps({"pod": one}).encode()))
            took.append(time.perf_counter() - began)
            one["metadata"]["annotations"]["JobID"] = answer["PodJID"]
        return took

    with ThreadPoolExecutor(threads) as pool:
        return [seconds for took in pool.map(work, range(threads)) for seconds in took]


def wait_until_submitted(client: Client, pods: list[dict[str, Any]]) -> None:
    """Wait until the batch system has all of them."""
    body = json.dumps(pods).encode()
    while any(each["JID"].count(":") < 2 for each in json.loads(client.call("GET", "/status", body))):
        time.sleep(0.2)


def main() -> None:
    """Print the figures."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {number} pods")
    with tempfile.TemporaryDirectory(prefix="flashlink-scale-") as folder, running(Path(folder) / "state") as plugin:
        pods = [waiting(index) for index in range(number)]
        first, rest = pods[:CONCURRENT], pods[CONCURRENT:]
        began = time.perf_counter()
        took = create(plugin.endpoint, first, len(first))
        accepted = time.perf_counter() - began
        client = Client(plugin.endpoint)
        wait_until_submitted(client, first)
        submitted = time.perf_counter() - began
        print(
            f"{len(first)} concurrent creates: all answered in {accepted:.1f} s (slowest {max(took):.1f} s), "
            f"all at the batch system after {submitted:.1f} s"
        )
        if rest:
            create(plugin.endpoint, rest, 50)
            wait_until_submitted(client, pods)
        measure(plugin, client, pods)
        plugin.kill()
        print(f"restart after SIGKILL: ready in {plugin.start():.2f} s")
        client = Client(plugin.endpoint)
        seconds, answer = timed(client, json.dumps(pods).encode())
        print(
            f"  its first status call over all pods: {seconds:.3f} s, {len(answer)} answers, memory {plugin.memory()}"
        )
        end_pods(client, [json.dumps([one]).encode() for one in pods], plugin.state)


def measure(plugin: Plugin, client: Client, pods: list[dict[str, Any]]) -> None:
    """Status calls over all pods at once, and of one pod each beside a bare route; sweeps and memory meanwhile."""
    body = json.dumps(pods).encode()
    all_at_once = [timed(client, body)[0] for _ in range(5)]
    print(f"one status call over all: median {statistics.median(all_at_once):.3f} s ({len(body) / 1e6:.0f} MB sent)")
    bodies = [json.dumps([one]).encode() for one in pods]
    before, began = plugin.calls(), time.perf_counter()
    ours: list[float] = []
    theirs: list[float] = []
    with process(str(Path(__file__).with_name("status_rate.py")), "--echo") as endpoint:
        bare = Client(endpoint)
        while len(ours) < CALLS:
            block = [bodies[(len(ours) + index) % len(bodies)] for index in range(BLOCK)]
            ours += times(client, "/status", block)
            theirs += times(bare, "/bare", block)
    seconds, after = time.perf_counter() - began, plugin.calls()
    print(
        f"status calls of one pod each: {len(ours) / sum(ours):.0f}/s, median {1000 * statistics.median(ours):.2f} ms, "
        f"slowest {1000 * max(ours):.1f} ms; {sum(theirs) / sum(ours):.0%} of the rate of a bare route "
        f"({statistics.median(theirs) / statistics.median(ours):.0%} by the medians)"
    )
    counts = ", ".join(f"{name} {after[name] - before.get(name, 0)}" for name in after)
    print(f"calls of the batch system meanwhile, in {seconds:.1f} s: {counts}")
    print(f"memory: {plugin.memory()}")


def timed(client: Client, body: bytes) -> tuple[float, list[Any]]:
    """Seconds of a status call, and its answer."""
    began = time.perf_counter()
    content = client.call("GET", "/status", body)
    return time.perf_counter() - began, json.loads(content)


if __name__ == "__main__":
    main()
