"""Nothing lost, nothing twice: daemons, plugin and network are killed or cut while pods are on their way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobState
from flashlink.batch.testing import BatchContract
from flashlink.errors import FlashlinkError
from lab.condor.plugins import Plugin, Pod

pytestmark = [pytest.mark.lab, pytest.mark.slow]

Start = Callable[..., Plugin]


@pytest.fixture
def start(lab: Any, condor: Any, shared: Path) -> Iterator[Start]:
    """``start("site" or "ce")`` gives a plugin whose pods may write into the folder ``marks``."""
    plugins: list[Plugin] = []
    (shared / "marks").mkdir()

    def launch(which: str) -> Plugin:
        folder = shared / which
        folder.mkdir(exist_ok=True)
        options = condor.ce_options(folder) if which == "ce" else condor.site_options(folder)
        batch = {"options": options, **({"cpus": 16, "memory": "32Gi"} if which == "ce" else {})}
        os.chown(shared / "marks", lab.user, lab.user)
        plugins.append(Plugin(folder, lab.user, lab.images, batch, host_paths=[str(shared / "marks")]))
        return plugins[-1]

    yield launch
    for plugin in plugins:
        plugin.end()


def marking(shared: Path, name: str, then: str = "true") -> dict[str, Any]:
    """A pod that leaves one line for each time that it runs."""
    marks = {"name": "marks", "hostPath": {"path": str(shared / "marks")}}
    return {
        "script": f"echo ran >>/marks/{name}; {then}",
        "volumes": [marks],
        "main": {"volumeMounts": [{"name": "marks", "mountPath": "/marks"}]},
    }


def runs(shared: Path) -> Counter[str]:
    return Counter({path.name: len(path.read_text().splitlines()) for path in (shared / "marks").iterdir()})


def send(plugin: Plugin, shared: Path, name: str, then: str = "true") -> Pod:
    pod = marking(shared, name, then)
    return plugin.send(pod.pop("script"), **pod)


def test_a_schedd_that_dies_loses_no_job_and_starts_none_twice(start: Start, condor: Any, shared: Path) -> None:
    plugin = start("site")
    pods = [send(plugin, shared, f"pod-{number}", f"sleep 5; exit {number}") for number in range(6)]
    for _ in range(3):
        time.sleep(2)
        for pid in condor.pids("site", "schedd"):
            os.kill(pid, signal.SIGKILL)
    assert [pod.end(240)["exitCode"] for pod in pods] == list(range(6))
    assert set(runs(shared).values()) == {1}


def test_a_job_that_was_cut_off_while_it_was_sent_is_not_taken_for_the_one_that_runs(
    opened: Any, condor: Any, shared: Path
) -> None:
    killed, later = opened("ce"), opened("ce")  # two plugins, one after the other
    contract = BatchContract()
    contract.patience = 90.0
    job = contract.job(shared, "exit 7")
    for path in (job.folder, job.script):
        os.chown(path, condor.user, condor.user)
    later.capacity()  # so that it has its connection, and comes in time
    (first,) = killed.submit([job])
    later.find([job.uid])  # the schedd takes a second more until it calls the files arrived: it is removed before
    number = first.rpartition(":")[2]
    limit = time.monotonic() + 30
    while "undefined" in condor.run("ce", "condor_q", number, "-af", "StageInFinish"):
        assert time.monotonic() < limit
        time.sleep(0.2)
    (second,) = later.submit([job])
    (ended,) = contract.wait(later, [second])
    assert (ended.state, ended.exit_code) == (JobState.ENDED, 7)
    assert opened("ce").find([job.uid]) == {job.uid: second}


# httpcore 1.0 leaks the unix socket of a connection that fails, as some do while the plugin is down.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_plugin_killed_during_creates_runs_each_pod_once(start: Start, shared: Path, which: str) -> None:
    plugin = start(which)
    count = 40
    made: dict[int, Any] = {}

    def create(number: int) -> None:
        pod = marking(shared, f"pod-{number}", f"exit {number}")
        made[number] = plugin.prepare(pod.pop("script"), **pod)
        try:
            made[number].create()
        except FlashlinkError:  # the plugin died; interLink would fail the pod, a person sends it again
            return

    with ThreadPoolExecutor(count) as pool:
        for number in range(count):
            pool.submit(create, number)
        for pause in (0.3, 0.8):
            time.sleep(pause)
            plugin.kill()
            plugin.start()
    for pod in made.values():
        pod.create()  # the same again: what the plugin has is not made twice
    assert {number: pod.end(300)["exitCode"] for number, pod in made.items()} == {n: n for n in range(count)}
    assert runs(shared) == Counter({f"pod-{number}": 1 for number in range(count)})
    for pod in made.values():
        pod.delete()
    assert list(plugin.work.iterdir()) == []


def test_a_ce_out_of_reach_holds_pods_and_finds_them_when_it_is_back(start: Start, condor: Any, shared: Path) -> None:
    plugin = start("ce")
    before = send(plugin, shared, "before", "sleep 10; exit 4")
    time.sleep(6)
    daemons = condor.pids("ce", "master", "shared_port", "collector", "schedd", "job_router")
    for pid in daemons:
        os.kill(pid, signal.SIGSTOP)
    try:
        during = send(plugin, shared, "during", "exit 5")
        began = time.monotonic()
        during.state()
        assert time.monotonic() - began < 2  # nobody waits for the CE
        during.until(lambda state: "HTCondor at" in state.get("waiting", {}).get("message", ""), 240)
    finally:
        for pid in daemons:
            os.kill(pid, signal.SIGCONT)
    assert (before.end(300)["exitCode"], during.end(300)["exitCode"]) == (4, 5)
    assert runs(shared) == Counter({"before": 1, "during": 1})


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_under_the_state_loses_nothing(start: Start, lab: Any, shared: Path) -> None:
    state = shared / "site" / "state"
    state.mkdir(parents=True)
    options = f"size=1m,mode=0700,uid={lab.user},gid={lab.user}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", state], check=True)
    try:
        plugin = start("site")
        before = send(plugin, shared, "before", "sleep 3; exit 4")
        before.until(lambda state: "running" in state)
        with pytest.raises(OSError, match="No space left"):
            fill(state / "filler")
        refused = marking(shared, "during", "exit 5")
        during = plugin.prepare(refused.pop("script"), **refused)
        with pytest.raises(FlashlinkError, match="cannot write its books"):
            during.create()
        before.state()  # which needs no disk
        (state / "filler").unlink()
        during.create()
        assert (before.end()["exitCode"], during.end()["exitCode"]) == (4, 5)
        assert runs(shared) == Counter({"before": 1, "during": 1})
        plugin.end()
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)


@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_plugin_that_lost_its_state_finds_its_jobs(start: Start, shared: Path, which: str) -> None:
    plugin = start(which)
    running = send(plugin, shared, "running", "sleep 15; exit 6")
    running.until(lambda _: runs(shared)["running"] == 1)
    plugin.kill()
    for path in (plugin.folder / "state").rglob("*"):
        if path.is_file():
            path.unlink()
    plugin.start()
    assert running.end(240)["exitCode"] == 6
    assert runs(shared) == Counter({"running": 1})


def test_nothing_of_a_deleted_pod_stays_at_the_ce(start: Start, condor: Any, shared: Path) -> None:
    plugin = start("ce")
    ended, running = send(plugin, shared, "ended"), send(plugin, shared, "running", "sleep 600")
    ended.end()
    running.until(lambda _: runs(shared)["running"] == 1)
    numbers = [pod.jid.rpartition(":")[2].partition(".")[0] for pod in (ended, running)]
    ended.delete()
    running.delete(grace=1)
    limit = time.monotonic() + 90
    while True:
        spooled = [
            path for number in numbers for path in (condor.home / "ce/spool").glob(f"{number}/*/cluster{number}.*")
        ]
        left = condor.run("ce", "condor_q", "-af", "ClusterId").split()
        if not spooled and not set(numbers) & set(left):
            return
        assert time.monotonic() < limit, (spooled, left)
        time.sleep(1)
