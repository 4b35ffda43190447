"""Nothing lost, nothing twice: daemons, plugin and network are killed or cut while pods are on their way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobState
from flashlink.batch.testing import BatchContract
from flashlink.errors import FlashlinkError
from lab.condor.plugins import Plugin, Pod, prepare, runs, send

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: Of their own: others would not like what happens to it here.
HTCONDOR = "fragile"

Start = Callable[..., Plugin]


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


@pytest.mark.parametrize("requeue", [True, False])
def test_jobs_of_a_ce_whose_schedd_dies_are_never_lost_and_never_twice_at_once(
    start: Start, condor: Any, shared: Path, requeue: bool
) -> None:
    plugin, moments = start("ce", requeue=requeue), random.Random()
    beat = "run=$(cat /proc/sys/kernel/random/uuid); for _ in $(seq {}); do echo $run >>/marks/beat-{}; sleep 0.2; done"
    lengths, grace = (3, 5, 7, 9, 11, 20), {"terminationGracePeriodSeconds": 5}
    pods = [
        send(plugin, shared, f"pod-{number}", f"{beat.format(length * 5, number)}; exit {number}", **grace)
        for number, length in enumerate(lengths)
    ]
    pods[0].until(lambda _: runs(shared)["pod-0"] == 1)
    for _ in range(3):
        time.sleep(moments.uniform(0, 6))
        for pid in condor.pids("ce", "schedd"):
            os.kill(pid, signal.SIGKILL)
    # The job router ends a job whose news it cannot pass on, and hands it in again, as after an eviction.
    for number, pod in enumerate(pods):
        ended = pod.end(240)
        beats = (shared / "marks" / f"beat-{number}").read_text().splitlines()
        assert len(list(groupby(beats))) == len(set(beats))
        if requeue:
            assert ended["exitCode"] == number
        else:
            assert runs(shared)[f"pod-{number}"] == len(set(beats)) == 1
            assert ended["exitCode"] == number or "not to be started again" in ended["message"]
            assert ended["exitCode"] in (number, 143)
    assert plugin.log.count('"event": "ended"') == len(pods)


# httpcore 1.0 leaks the unix socket of a connection that fails, as some do while the plugin is down.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_plugin_killed_during_creates_runs_each_pod_once(start: Start, shared: Path, which: str) -> None:
    plugin = start(which)
    count, moments = int(os.environ.get("FLASHLINK_PODS", "200")), random.Random()
    made: dict[int, Any] = {}

    def create(number: int) -> None:
        made[number] = prepare(plugin, shared, f"pod-{number}", f"exit {number}")
        try:
            made[number].create()
        except FlashlinkError:  # the plugin died; interLink would fail the pod, a person sends it again
            return

    with ThreadPoolExecutor(count) as pool:
        for number in range(count):
            pool.submit(create, number)
        for _ in range(3):
            time.sleep(moments.uniform(0, 3))
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


def test_a_collector_that_tells_of_a_dead_schedd_holds_pods_until_it_lives(
    start: Start, condor: Any, shared: Path
) -> None:
    plugin = start("ce")
    (master,) = condor.pids("ce", "master")
    os.kill(master, signal.SIGSTOP)  # else it starts the schedd again at once
    try:
        for pid in condor.pids("ce", "schedd"):
            os.kill(pid, signal.SIGKILL)
        assert "ce@localhost" in condor.run("ce", "condor_status", "-schedd", "-af", "Name")
        pod = send(plugin, shared, "pod", "exit 5")
        pod.until(lambda state: "HTCondor at" in state.get("waiting", {}).get("message", ""))
    finally:
        os.kill(master, signal.SIGCONT)
    assert pod.end(300)["exitCode"] == 5
    assert runs(shared) == Counter({"pod": 1})


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
        during = prepare(plugin, shared, "during", "exit 5")
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


def test_full_disks_at_the_ce_and_at_the_plugin_lose_nothing(start: Start, condor: Any, lab: Any, shared: Path) -> None:
    work = shared / "ce" / "work"
    work.mkdir(parents=True)
    small = f"size=1m,mode=0700,uid={lab.user},gid={lab.user}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", small, "tmpfs", work], check=True)
    try:
        plugin = start("ce")
        before = send(plugin, shared, "before", "head -c 300000 /dev/zero; sleep 12; exit 4")
        before.until(lambda _: before.jid.startswith("htcondor:"))
        first = int(before.jid.rpartition(":")[2].partition(".")[0]) + 1
        with full_spool(condor, first):
            during = send(plugin, shared, "during", "exit 5")
            during.until(lambda state: "HTCondor at" in state.get("waiting", {}).get("message", ""))
        before.until(lambda _: runs(shared)["before"] == 1)
        with pytest.raises(OSError, match="No space left"):
            fill(work / "filler")
        told = before.until(lambda state: "cannot be fetched" in str(state))
        assert "terminated" not in told
        (work / "filler").unlink()
        assert (before.end()["exitCode"], during.end()["exitCode"]) == (4, 5)
        assert len(before.logs()) == 300_000
        assert runs(shared) == Counter({"before": 1, "during": 1})
        plugin.end()
    finally:
        subprocess.run(["umount", "--lazy", work], check=True)


@contextmanager
def full_spool(condor: Any, first: int) -> Iterator[None]:
    """A disk that is full under those folders of the CE's spool in which the next jobs will lie."""
    inside = ["nsenter", "--mount", "--target", str(condor.pids("ce", "master")[0]), "sh", "-euc"]
    numbers = " ".join(str(number) for number in range(first, first + 20))
    fill_all = f"""cd {condor.inside}/ce/spool; mkdir -p full; mount -t tmpfs -o size=4k tmpfs full
        dd if=/dev/zero of=full/filler bs=4k count=1 2>/dev/null
        for each in {numbers}; do mkdir $each; mount --bind full $each; done"""
    free_all = f"cd {condor.inside}/ce/spool; for each in {numbers} full; do umount -l $each; rmdir $each; done"
    subprocess.run([*inside, fill_all], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, free_all], check=True)


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
    plugin, moments, others = start("ce"), random.Random(), left_behind(condor)
    ended, running = send(plugin, shared, "ended"), send(plugin, shared, "running", "sleep 600")
    early = [prepare(plugin, shared, f"early-{number}", "sleep 600") for number in range(10)]

    def delete_during_create(pod: Pod) -> None:
        creation = creating.submit(pod.create)
        time.sleep(moments.uniform(0, 4))
        pod.delete(grace=1)
        with suppress(FlashlinkError):  # which says that it was deleted
            creation.result()

    never = prepare(plugin, shared, "never")
    never.delete()
    with pytest.raises(FlashlinkError, match="was deleted already"):
        never.create()
    with ThreadPoolExecutor(len(early)) as pool, ThreadPoolExecutor(len(early)) as creating:
        for each in [pool.submit(delete_during_create, pod) for pod in early]:
            each.result()
    ended.end()
    running.until(lambda _: runs(shared)["running"] == 1)
    ended.delete()
    running.delete(grace=1)
    limit = time.monotonic() + 90
    while left := left_behind(condor) - others:
        assert time.monotonic() < limit, left
        time.sleep(1)
    assert max(runs(shared).values()) == 1
    assert runs(shared)["never"] == 0
    assert list(plugin.work.iterdir()) == []


def left_behind(condor: Any) -> set[str]:
    """Jobs in the queues of CE and site, what lies in the CE's spool, and scratch folders of the workers."""
    queues = [condor.run(which, "condor_q", "-allusers", "-af", "FlashlinkUid") for which in ("ce", "site")]
    spooled = (condor.home / "ce/spool").glob("[0-9]*/*/cluster*")
    return {*" ".join(queues).split(), *map(str, spooled), *map(str, (condor.home / "site/execute").glob("dir_*"))}
