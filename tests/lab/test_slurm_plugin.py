"""Pods through a plugin on a machine of a Slurm cluster: live, killed, restarted; each runs exactly once."""

from __future__ import annotations

import random
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
from lab.slurm_plugins import GREETING, MOUNTS, VOLUMES, SlurmPlugin, marking, runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture(params=["plain", "accounted"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Slurm without accounting and with it."""
    found: Cluster = request.getfixturevalue(f"{request.param}_slurm")
    return found


@pytest.fixture
def plugin(lab: Any, cluster: Cluster, marks: Path) -> Iterator[SlurmPlugin]:
    folder = cluster.work / f"plugin-{time.time_ns()}"
    folder.mkdir()
    SlurmPlugin.conf = cluster.endpoints["SLURM_CONF"]
    batch = {
        "system": "slurm",
        "options": {
            "flavours": [{"name": "cpu", "partition": "cpu"}, {"name": "gpu", "partition": "booster", "gpus": 2}]
        },
    }
    grants = {"flags": ["--begin"], "job_script": True}
    made = SlurmPlugin(folder, lab.user, lab.images, batch, host_paths=[str(marks)], grants=grants)
    yield made
    made.end()


@pytest.fixture
def send(plugin: SlurmPlugin, marks: Path) -> Callable[..., Pod]:
    """Make a pod that leaves one line for each time that it runs."""
    return partial(marking, plugin, marks)


def test_a_pod_by_slurmrestd_waits_for_a_token_and_runs(lab: Any, accounted_slurm: Cluster) -> None:
    cluster = accounted_slurm
    folder = cluster.work / f"rest-{time.time_ns()}"
    folder.mkdir()
    options = cluster.rest(folder)
    token = folder / "slurm-token"
    good = token.read_text()
    token.write_text("expired")
    SlurmPlugin.conf = cluster.endpoints["SLURM_CONF"]
    plugin = SlurmPlugin(folder, lab.user, lab.images, {"system": "slurm", "options": {**options, "shell": ["bash"]}})
    try:
        pod = plugin.send("cat /etc/greeting/text; exit 3", GREETING, volumes=VOLUMES, main={"volumeMounts": MOUNTS})
        state = pod.until(lambda state: "does not admit the token" in state["waiting"].get("message", ""))
        assert str(token) in state["waiting"]["message"]
        token.write_text(good)
        assert pod.end()["exitCode"] == 3
        assert pod.logs() == "hello\n"
        assert good.strip().removeprefix("SLURM_JWT=") not in plugin.log
        pod.delete()
    finally:
        plugin.end()


def test_a_pod_runs_in_its_container_with_its_volumes(plugin: SlurmPlugin) -> None:
    script = "cat /etc/greeting/text; touch /scratch/x; ls /scratch; exit 3"
    pod = plugin.send(script, GREETING, volumes=VOLUMES, main={"volumeMounts": MOUNTS})
    assert pod.end()["exitCode"] == 3
    assert pod.logs() == "hello\nx\n"
    assert pod.jid.startswith("slurm:lab:")
    names = {path.name for path in (plugin.work / pod.uid).iterdir()}
    assert {"journal", "logs", "job.log", "job.sh"} <= names
    assert not {"volumes", "tmp"} & names
    pod.delete()


def test_state_and_logs_are_live_and_a_delete_ends_all(plugin: SlurmPlugin, cluster: Cluster) -> None:
    pod = plugin.send("trap 'echo bye; exit 0' TERM; echo first; while :; do sleep 0.1; done")
    pod.until(lambda state: "running" in state)
    pod.until(lambda _: pod.logs() == "first\n", 20)
    pod.delete(grace=5)
    limit = time.monotonic() + 30
    number = pod.jid.rpartition(":")[2]
    while number in cluster.run("squeue", "--noheader", "--Format=jobid").split():
        assert time.monotonic() < limit
        time.sleep(0.5)


def test_a_pod_with_a_gpu_gets_the_flavour_that_has_one(plugin: SlurmPlugin, cluster: Cluster) -> None:
    resources = {"limits": {"nvidia.com/gpu": "1", "cpu": "1", "memory": "64Mi"}}
    pod = plugin.send("sleep 60", main={"resources": resources})
    number = pod.jid.rpartition(":")[2]
    told = cluster.run("scontrol", "--oneliner", "show", "job", number)
    assert "Partition=booster" in told
    assert "gres/gpu" in told
    pod.delete(grace=0)


@pytest.mark.parametrize("cluster", ["plain"], indirect=True)
def test_containers_see_the_gpus_that_slurm_gave_their_jobs(plugin: SlurmPlugin, marks: Path) -> None:
    """Two pretended GPUs: to Slurm they are files of the lab."""
    one = {"resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "100m", "memory": "64Mi"}}}
    mount = {"volumeMounts": [{"name": "marks", "mountPath": "/marks"}]}
    volumes = [{"name": "marks", "hostPath": {"path": str(marks)}}]
    show = 'echo "$CUDA_VISIBLE_DEVICES"; until [ -e /marks/go ]; do sleep 0.1; done'
    pods = [plugin.send(show, volumes=volumes, main={**one, **mount}) for _ in range(2)]
    try:
        for pod in pods:
            pod.until(lambda state: "running" in state)
        plain = plugin.send('echo "[$CUDA_VISIBLE_DEVICES]"')
        assert plain.end()["exitCode"] == 0
        assert plain.logs() == "[]\n"
        late = plugin.send(show, volumes=volumes, main={**one, **mount})
        late.until(lambda state: "free resources" in state.get("waiting", {}).get("message", ""))
    finally:
        (marks / "go").touch()
    assert [pod.end()["exitCode"] for pod in (*pods, late)] == [0, 0, 0]
    assert sorted(pod.logs() for pod in pods) == ["0\n", "1\n"]
    assert late.logs() in ("0\n", "1\n")
    second = {"name": "second", "image": "shell", "command": ["sh", "-c", show], **one, **mount}
    both = plugin.prepare(show, volumes=volumes, main={**one, **mount})
    both.body["spec"]["containers"].append(second)
    both.create()
    assert both.end()["exitCode"] == 0
    assert [both.logs(container) for container in ("main", "second")] == ["0\n", "1\n"]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("flavours", r"asks for .* 3 GPUs .* fits none of this site's flavours .*gpu: 0 to 2 GPUs"),
        ("commands", "Slurm: .*[Rr]equested node configuration is not available"),
        ("rest", "Slurm: .*[Rr]equested node configuration is not available"),
    ],
)
def test_more_gpus_than_a_node_has_are_refused(lab: Any, plain_slurm: Cluster, way: str, words: str) -> None:
    folder = plain_slurm.work / f"gpus-{time.time_ns()}"
    folder.mkdir()
    SlurmPlugin.conf = plain_slurm.endpoints["SLURM_CONF"]
    options: dict[str, Any] = {"flavours": [{"name": "gpu", "partition": "booster", "gpus": 2}]}
    if way != "flavours":
        options = {**plain_slurm.rest(folder), "shell": ["bash"]} if way == "rest" else {}
    plugin = SlurmPlugin(folder, lab.user, lab.images, {"system": "slurm", "options": options})
    try:
        with pytest.raises(FlashlinkError, match=words):
            plugin.send("true", main={"resources": {"limits": {"nvidia.com/gpu": "3"}}})
    finally:
        plugin.end()


@pytest.mark.parametrize("cluster", ["plain"], indirect=True)
def test_a_job_that_is_requeued_waits_and_tells_the_end_of_its_second_run(
    send: Callable[..., Pod], cluster: Cluster, marks: Path
) -> None:
    pod = send("pod", '[ "$(wc -l </marks/pod)" = 2 ] || sleep 300; exit 5')
    pod.create()
    pod.until(lambda state: "running" in state and runs(marks)["pod"] == 1)
    number = pod.jid.rpartition(":")[2]
    cluster.run("scontrol", "requeue", number)
    pod.until(lambda state: "waiting" in state, 60)
    cluster.run("scontrol", "update", f"jobid={number}", "starttime=now")  # else it waits for two minutes
    assert pod.end(300)["exitCode"] == 5
    assert runs(marks) == Counter({"pod": 2})
    pod.delete()


def test_a_controller_that_is_restarted_loses_no_job_and_starts_none_twice(
    send: Callable[..., Pod], cluster: Cluster, marks: Path
) -> None:
    pods = [send(f"pod-{number}", f"sleep 6; exit {number}") for number in range(6)]
    for pod in pods:
        pod.create()
    for _ in range(3):
        time.sleep(1)
        cluster.stop("slurmctld")
        time.sleep(1)
        cluster.start()
    assert [pod.end(240)["exitCode"] for pod in pods] == list(range(6))
    assert runs(marks) == Counter({f"pod-{number}": 1 for number in range(6)})


def test_a_controller_that_is_killed_after_a_submission_loses_no_pod_and_starts_none_twice(
    plugin: SlurmPlugin, send: Callable[..., Pod], cluster: Cluster, marks: Path
) -> None:
    cluster.stop(
        "slurmctld"
    )  # which writes all of its state once: it does not start again without that of associations
    cluster.start()
    pods = [send(f"pod-{number}", f"exit {number}", flags="--begin=now+3") for number in range(6)]
    for pod in pods:
        pod.create()
    cluster.kill("slurmctld")  # it has hardly saved them, nor have they begun
    cluster.start()
    late = send("pod-6", "exit 6")  # gets a number that one of the others had
    late.create()
    assert [pod.end(120)["exitCode"] for pod in (*pods, late)] == list(range(7))
    assert runs(marks) == Counter({f"pod-{number}": 1 for number in range(7)})
    assert "job lost" in plugin.log


@pytest.mark.parametrize("cluster", ["plain"], indirect=True)
def test_a_plugin_killed_at_random_during_two_hundred_creates_runs_each_pod_once(
    plugin: SlurmPlugin, marks: Path
) -> None:
    """The pods are scripts: two hundred containers would take minutes."""
    codes = {f"pod-{number}": number for number in range(200)}
    pods = [
        plugin.prepare(
            "true",
            job_script=f"echo ran >>{marks}/{name}; exit {code}",
            main={"resources": {"requests": {"cpu": "0.1"}}},
        )
        for name, code in codes.items()
    ]

    def create(pod: Pod) -> None:
        try:
            pod.create()
        except FlashlinkError:  # the plugin died; interLink would fail the pod, a person sends it again
            return

    seed = time.time_ns()
    moments = random.Random(seed)
    with ThreadPoolExecutor(len(pods)) as pool:
        sent = [pool.submit(create, pod) for pod in pods]
        for _ in range(4):
            time.sleep(moments.uniform(0.05, 2.0))
            plugin.kill()
            plugin.start()
    assert all(each.done() for each in sent)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(Pod.create, pods))  # the same again: what the plugin has is not made twice
    assert [pod.end(300)["exitCode"] for pod in pods] == list(codes.values()), f"seed {seed}"
    assert runs(marks) == Counter(dict.fromkeys(codes, 1)), f"seed {seed}"
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(Pod.delete, pods))
    assert list(plugin.work.iterdir()) == []


def test_a_plugin_that_lost_its_state_finds_its_jobs(
    plugin: SlurmPlugin, send: Callable[..., Pod], marks: Path
) -> None:
    pod = send("pod", "sleep 10; exit 6")
    pod.create()
    pod.until(lambda _: runs(marks)["pod"] == 1)
    plugin.kill()
    for path in (plugin.folder / "state").rglob("*"):
        if path.is_file():
            path.unlink()
    plugin.start()
    assert pod.end(240)["exitCode"] == 6
    assert runs(marks) == Counter({"pod": 1})
