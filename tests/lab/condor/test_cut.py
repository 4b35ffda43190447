"""The network between plugin and CE is cut and comes back: nothing hangs, nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.condor.network import Link
from lab.condor.plugins import Plugin, Pod, runs, send

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: Of their own: others would not like what happens to it here.
HTCONDOR = "fragile"

#: What a cut loses: packets to the CE, packets from it, or both.
LOSSES = [{"answers": False}, {"requests": False}, {}]


@pytest.fixture
def link(condor: Any) -> Iterator[Link]:
    with Link(f"fl{time.time_ns() % 10**6}", condor.ce.partition(":")[0]) as link:
        yield link


@pytest.fixture
def plugin(start: Callable[..., Plugin], link: Link, socket_folder: Path) -> Plugin:
    """A plugin that reaches the CE over the link, and is reached by a socket."""
    return start("ce", within=link.command(), tables={"listen": f"unix:{socket_folder}/plugin"})


def test_a_network_that_is_cut_and_comes_back_loses_no_pod_and_starts_none_twice(
    plugin: Plugin, link: Link, shared: Path
) -> None:
    count, moments = int(os.environ.get("FLASHLINK_PODS", "12")), random.Random()
    pods: dict[int, Pod] = {}

    def create(number: int) -> None:
        time.sleep(number * 0.2)
        pods[number] = send(plugin, shared, f"pod-{number}", f"sleep 3; exit {number}")

    with ThreadPoolExecutor(count) as pool:
        created = [pool.submit(create, number) for number in range(count)]
        for _ in range(max(count // 5, 3)):  # short ones: while files are sent, while an answer is waited for
            time.sleep(moments.uniform(0, 1))
            link.cut(**moments.choice(LOSSES))
            time.sleep(moments.uniform(0.2, 2))
            link.mend()
        for each in created:
            each.result()
    link.cut()  # and a long one
    began = time.monotonic()
    pods[count] = send(plugin, shared, f"pod-{count}", f"exit {count}")
    told = re.compile("HTCondor at|htcondor has not answered")  # by a call that failed, or by one that hangs
    pods[count].until(lambda state: bool(told.search(state["waiting"].get("message", ""))), 30)
    pods[count].until(lambda state: "HTCondor at" in state["waiting"].get("message", ""))
    for pod in pods.values():
        pod.state()
    assert time.monotonic() - began < 120  # from the books: nobody waits for the CE longer than a connection takes
    link.mend()
    assert {number: pod.end(400)["exitCode"] for number, pod in pods.items()} == {n: n for n in range(count + 1)}
    assert runs(shared) == Counter({f"pod-{number}": 1 for number in range(count + 1)})
    assert plugin.log.count('"event": "ended"') == count + 1
