"""Nodes of Slurm that die under the jobs that run on them: with a shared folder, by slurmrestd, by the login node."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clusters import Cluster
from lab.condor.plugins import Plugin, Pod
from lab.slurm_plugins import RemotePlugin, SlurmPlugin, marking, runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SPOOL = "/var/tmp/flashlink-nodes"

Start = Callable[..., Plugin]


@pytest.fixture
def cluster(plain_slurm: Cluster) -> Iterator[Cluster]:
    yield plain_slurm
    plain_slurm.start()


@pytest.fixture
def start(lab: Any, cluster: Cluster, marks: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a plugin that reaches the cluster by "shared", "rest" or "spool"."""
    made: list[Plugin] = []

    def start(way: str, **options: Any) -> Plugin:
        folder = (tmp_path if way == "spool" else cluster.work) / f"nodes-{time.time_ns()}"
        folder.mkdir()
        if way == "rest":
            options |= {**cluster.rest(folder), "shell": ["bash"]}
        if way == "spool":
            options |= {**cluster.login, "spool": SPOOL}
        SlurmPlugin.conf = cluster.endpoints["SLURM_CONF"]
        batch = {"system": "slurm", "poll_seconds": 1, "options": options}
        kind = RemotePlugin if way == "spool" else SlurmPlugin
        made.append(kind(folder, 0 if way == "spool" else lab.user, lab.images, batch, host_paths=[str(marks)]))
        return made[-1]

    yield start
    for plugin in made:
        plugin.end()


def send(plugin: Plugin, marks: Path, name: str) -> Pod:
    """A pod whose container says which run of it this is, and ends in the second one alone."""
    count = f"$(wc -l </marks/{name})"
    pod = marking(plugin, marks, name, f'echo "run {count}"; [ "{count}" = 2 ] || sleep 300; exit 5')
    pod.create()
    return pod


def until_first_line(pods: Iterable[Pod]) -> None:
    for pod in pods:
        pod.until(lambda state: "running" in state)
        pod.until(lambda _, pod=pod: pod.logs() == "run 1\n")


def test_pods_whose_node_fails_wait_and_run_anew(start: Start, cluster: Cluster, marks: Path) -> None:
    """Slurm starts a job that it queues again two minutes later, so all ways are tried at once."""
    plugins = {way: start(way) for way in ("shared", "rest", "spool")} | {"blind": start("shared")}
    pods = {name: send(plugin, marks, name) for name, plugin in plugins.items()}
    until_first_line(pods.values())
    plugins["blind"].kill()
    cluster.fail_node()
    plugins["blind"].start()  # it has not seen the node that failed

    for name, pod in pods.items():
        message = pod.until(lambda state: "waiting" in state, 60)["waiting"]["message"]
        assert "Slurm has queued it again" in message
        assert ("its node worker failed" in message) == (name != "blind")
    cluster.start()
    for _ in range(20):
        assert all("waiting" in pod.state() for pod in pods.values())
        time.sleep(0.2)
    assert [pod.logs() for pod in pods.values()] == ["run 1\n"] * len(pods)

    for name, pod in pods.items():
        assert pod.end(300)["exitCode"] == 5
        assert (pod.logs(), pod.logs(Previous=True)) == ("run 2\n", "run 1\n")
        assert not {"volumes", "tmp"} & {path.name for path in (plugins[name].work / pod.uid).iterdir()}
        pod.delete()
    assert runs(marks) == Counter(dict.fromkeys(pods, 2))


def test_pods_that_are_not_to_run_again_fail_with_their_node(start: Start, cluster: Cluster, marks: Path) -> None:
    pods = [send(start(way, arguments=["--no-requeue"]), marks, way) for way in ("shared", "spool")]
    until_first_line(pods)
    cluster.fail_node()
    for pod in pods:
        ended = pod.end(60)
        assert (ended["exitCode"], ended["message"]) == (137, "its node failed")
        assert pod.logs() == "run 1\n"
        pod.delete()
    assert runs(marks) == Counter({"shared": 1, "spool": 1})
