"""A thousand pods at once at a plugin that runs already, at Slurm say: accepted, at the scheduler, deleted, gone.

The site should let them wait, as none of them is meant to run: a Slurm partition that is down, or
``arguments = ["--begin=now+1hour"]``. Run: .venv/bin/python benchmarks/creates.py HOST:PORT IMAGE [PODS]
"""

import json
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from log_tail import Plugin, pod

PATIENCE = 600.0


def at_once(pods: list[dict[str, Any]], call: Callable[[dict[str, Any]], None]) -> float:
    """Seconds until the last of so many calls, begun together, is answered."""
    begin = threading.Barrier(len(pods) + 1)

    def one(of: dict[str, Any]) -> None:
        begin.wait()
        call(of)

    with ThreadPoolExecutor(len(pods)) as threads:
        calls = [threads.submit(one, each) for each in pods]
        begin.wait()
        began = time.perf_counter()
        for each in calls:
            each.result()
        return time.perf_counter() - began


def wait(client: Plugin, pods: list[dict[str, Any]], done: Callable[[dict[str, Any]], bool]) -> None:
    """Until the status of each pod is `done`."""
    limit = time.monotonic() + PATIENCE
    while not all(map(done, json.loads(client.call("GET", "/status", pods).read()))):
        if time.monotonic() > limit:
            raise SystemExit(f"not all after {PATIENCE:.0f} s")
        time.sleep(0.5)


def has_job(status: dict[str, Any]) -> bool:
    """The batch system has given it an id, which is not "system/uid"."""
    return ":" in status["JID"] and not status["JID"].endswith(status["UID"])


def is_gone(status: dict[str, Any]) -> bool:
    """Of a deleted pod whose job has ended, and of which nothing is left."""
    return status["containers"][0]["state"].get("terminated", {}).get("reason") == "Deleted"


def main() -> None:
    """Print one line each."""
    client = Plugin(sys.argv[1])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * count)), hard))
    pods = [pod("true", sys.argv[2]) for _ in range(count)]
    began = time.perf_counter()
    accepted = at_once(pods, lambda one: client.call("POST", "/create", {"pod": one}).close())
    wait(client, pods, has_job)
    submitted = time.perf_counter() - began
    began = time.perf_counter()
    deleted = at_once(pods, client.delete)
    wait(client, pods, is_gone)
    gone = time.perf_counter() - began
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.0f}")
    print(
        f"{count} creates at once: the last answer after {accepted:.1f} s, all at the scheduler after {submitted:.1f} s"
    )
    print(f"{count} deletes at once: the last answer after {deleted:.1f} s, nothing left after {gone:.1f} s")


if __name__ == "__main__":
    main()
