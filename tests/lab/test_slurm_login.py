"""Pods through a plugin that has nothing of a site but its login node by ssh: no file system is shared."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flashlink.errors import FlashlinkError
from lab.clusters import Cluster
from lab.condor.plugins import Pod
from lab.slurm_plugins import GREETING, MOUNTS, VOLUMES, RemotePlugin, marking, runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: In the lab alone: on this machine nobody has such a folder.
SPOOL = "/var/tmp/flashlink-spool"


@pytest.fixture
def cluster(plain_slurm: Cluster) -> Cluster:
    return plain_slurm


@pytest.fixture
def plugin(lab: Any, cluster: Cluster, marks: Path, tmp_path: Path) -> Iterator[RemotePlugin]:
    batch = {"system": "slurm", "options": {**cluster.login, "spool": SPOOL}}
    made = RemotePlugin(tmp_path, 0, lab.images, batch, host_paths=[str(marks)])
    yield made
    made.end()


@pytest.fixture
def send(plugin: RemotePlugin, marks: Path) -> Callable[..., Pod]:
    """Make a pod that leaves one line for each time that it runs."""
    return partial(marking, plugin, marks)


def spooled(cluster: Cluster) -> set[str]:
    """What lies in the folder of the site."""
    return set(cluster.run("find", SPOOL, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\n").split())


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_a_pod_runs_with_its_volumes_and_leaves_nothing_at_the_site(plugin: RemotePlugin, cluster: Cluster) -> None:
    script = "cat /etc/greeting/text; touch /scratch/x; ls /scratch; exit 3"
    pod = plugin.send(script, GREETING, volumes=VOLUMES, main={"volumeMounts": MOUNTS})
    assert pod.end()["exitCode"] == 3
    assert pod.logs() == "hello\nx\n"
    assert not Path(SPOOL).exists()
    until(lambda: {"journal", "logs", "job.log", "job.sh"} <= {path.name for path in (plugin.work / pod.uid).iterdir()})
    told = cluster.run("find", f"{SPOOL}/{pod.uid}", "-perm", "/077", "!", "-type", "l")
    assert told == "", "others can see something"
    pod.delete()
    assert pod.uid not in spooled(cluster)


def test_state_and_logs_are_live_and_a_delete_ends_all(plugin: RemotePlugin, cluster: Cluster) -> None:
    pod = plugin.send("trap 'echo bye; sleep 1; exit 0' TERM; echo first; while :; do sleep 0.1; done")
    pod.until(lambda state: "running" in state)
    pod.until(lambda state: "running" in state and pod.logs() == "first\n", 10)
    pod.delete(grace=5)
    number = pod.jid.rpartition(":")[2]
    assert number not in cluster.run("squeue", "--noheader", "--Format=jobid").split()
    assert pod.uid not in spooled(cluster)


def test_a_plugin_killed_on_the_way_and_a_connection_cut_lose_nothing(
    plugin: RemotePlugin, send: Callable[..., Pod], cluster: Cluster, marks: Path
) -> None:
    pods = [send(f"pod-{number}", f"sleep 2; echo {number}; exit {number}") for number in range(12)]

    def create(pod: Pod) -> None:
        try:
            pod.create()
        except FlashlinkError:  # the plugin died; interLink would fail the pod, a person sends it again
            return

    with ThreadPoolExecutor(len(pods)) as pool:
        for pod in pods:
            pool.submit(create, pod)
        for pause in (0.4, 1.1):
            time.sleep(pause)
            plugin.kill()
            plugin.start()
    cluster.cut_login()
    try:
        for pod in pods:
            pod.create()  # the same again: what the plugin has is not made twice
        late = send("late", "exit 4")
        late.create()
        state = late.until(lambda state: "login node" in state["waiting"].get("message", ""))
        assert cluster.endpoints["LOGIN"] in state["waiting"]["message"]
        plugin.kill()
    finally:
        cluster.start()
    plugin.start()
    assert [pod.end(240)["exitCode"] for pod in (*pods, late)] == [*range(12), 4]
    assert [pod.logs() for pod in pods] == [f"{number}\n" for number in range(12)]
    assert runs(marks) == Counter({"late": 1, **{f"pod-{number}": 1 for number in range(12)}})
    pods[0].delete()
    assert pods[0].uid not in spooled(cluster)


def test_a_plugin_that_lost_its_state_gets_the_output_all_the_same(
    plugin: RemotePlugin, send: Callable[..., Pod], marks: Path
) -> None:
    pod = send("pod", "echo out; sleep 1; exit 6")
    pod.create()
    until(lambda: runs(marks)["pod"] == 1)
    plugin.kill()
    time.sleep(6)  # it has ended, and Slurm has forgotten it
    for path in [*(plugin.folder / "state").rglob("*"), *plugin.work.rglob("*")]:
        if path.is_file():
            path.unlink()
    plugin.start()
    assert pod.end(240)["exitCode"] == 6
    assert pod.logs() == "out\n"
    assert runs(marks) == Counter({"pod": 1})
    pod.delete()
