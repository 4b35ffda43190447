"""What the virtual kubelet makes of a status: each trap of interLink's contract, against real jobs."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest


@pytest.fixture(params=[False, True], ids=["interlink-0.5", "interlink-0.4"])
def kubelet(plugin, new_kubelet, request):
    """Both generations of interLink."""
    return new_kubelet(plugin, old=request.param)


def test_pod_that_succeeds(kubelet, pod):
    one = pod("echo hello")
    answer = kubelet.create(one)
    assert answer.status_code == 200
    assert set(answer.json()) == {"PodUID", "PodJID"}
    assert answer.json()["PodJID"].startswith("local:")
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    assert kubelet.logs(one).text == "hello\n"


def test_pod_that_fails_has_its_exit_code(kubelet, pod):
    one = pod("exit 7")
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    assert kubelet.states(one)["main"]["terminated"]["exitCode"] == 7


def test_signal_is_128_plus_its_number(kubelet, pod):
    one = pod("kill -KILL $$$$")  # Kubernetes makes one $ of two
    kubelet.create(one)
    kubelet.until(one, "Failed")
    ended = kubelet.states(one)["main"]["terminated"]
    assert ended["exitCode"] == 137
    assert "signal 9" in ended["message"]


def test_one_failed_container_fails_the_pod_and_each_has_its_own_code(kubelet, pod, container):
    one = pod(containers=[container("a", "exit 0"), container("b", "exit 5"), container("c", "sleep 0.3; exit 0")])
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    codes = {name: state["terminated"]["exitCode"] for name, state in kubelet.states(one).items()}
    assert codes == {"a": 0, "b": 5, "c": 0}


def test_user_learns_why_a_container_could_not_start(kubelet, pod):
    one = pod()
    one["spec"]["containers"][0]["command"] = ["no-such-program"]
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    ended = kubelet.states(one)["main"]["terminated"]
    assert ended["exitCode"] == 127
    assert ended["message"] == "could not be started: there is no program 'no-such-program' on this machine"


def test_pod_over_the_size_limit_of_a_volume_is_evicted(kubelet, plugin, pod):
    one = pod("head -c 3000000 /dev/zero >../../volumes/x/big; sleep 60")
    one["spec"]["volumes"] = [{"name": "x", "emptyDir": {"sizeLimit": "1Mi"}}]
    one["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "x", "mountPath": str(plugin.pod_folder(one) / "volumes/x")}
    ]
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    ended = kubelet.states(one)["main"]["terminated"]
    assert ended["exitCode"] in (137, 143)
    assert ended["message"] == 'Usage of EmptyDir volume "x" exceeds the limit "1Mi"'


@pytest.mark.slow
def test_pod_whose_job_was_killed_leaves_no_memory_taken(kubelet, plugin, pod, eventually):
    one = pod("sleep 60")
    one["spec"]["volumes"] = [{"name": "x", "emptyDir": {"medium": "Memory"}}]
    one["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "x", "mountPath": str(plugin.pod_folder(one) / "volumes/x")}
    ]
    kubelet.create(one)
    kubelet.until(one, "Running")
    memory = Path("/dev/shm", f"flashlink-{one['metadata']['uid']}")
    assert memory.is_dir()
    os.kill(int((plugin.pod_folder(one) / "journal").read_text().split("pid=")[1].split()[0]), signal.SIGKILL)
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    eventually(lambda: not memory.exists())  # its supervisors tell the end, its watcher cleans up


def test_status_names_the_image_of_each_container(kubelet, pod):
    one = pod("true", init=["true"])
    one["spec"]["containers"][0]["image"] = "example.org/flash:1.2"
    kubelet.create(one)
    (status,) = kubelet.ask([one])
    assert status["containers"][0]["image"] == "example.org/flash:1.2"
    assert status["initContainers"][0]["image"] == "any"


def test_unknown_pod_waits_and_does_not_succeed(kubelet, pod):
    one = pod("true", init=["true"])
    (status,) = kubelet.ask([one])
    assert [entry["name"] for entry in status["containers"]] == ["main"]
    assert [entry["name"] for entry in status["initContainers"]] == ["init0"]
    assert all("waiting" in state for state in kubelet.states(one).values())


def test_pod_of_another_batch_system_is_not_adopted(kubelet, pod):
    one = pod("true")
    one["metadata"]["annotations"]["JobID"] = "slurm:cluster:17"
    assert all("waiting" in state for state in kubelet.states(one).values())


def test_init_containers_run_in_order_before_the_others(kubelet, pod, tmp_path):
    trace = tmp_path / "trace"
    one = pod(f"echo main >> {trace}", init=[f"sleep 0.3; echo 0 >> {trace}", f"echo 1 >> {trace}"])
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    assert trace.read_text().split() == ["0", "1", "main"]


def test_failed_init_container_ends_everything_after_it(kubelet, pod):
    one = pod("echo never", init=["true", "exit 4", "echo never"])
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed", seconds=10) == "Failed"
    states = kubelet.states(one)
    assert states["init0"]["terminated"]["exitCode"] == 0
    assert states["init1"]["terminated"]["exitCode"] == 4
    for later in ("init2", "main"):
        assert states[later]["terminated"]["message"] == "not started: init container init1 failed"
        assert states[later]["terminated"]["exitCode"] != 0
    assert "never" not in kubelet.logs(one).text


def test_running_is_ready_and_has_a_start_time(kubelet, pod):
    one = pod("sleep 30")
    kubelet.create(one)
    kubelet.until(one, "Running")
    (status,) = kubelet.ask([one])
    (entry,) = status["containers"]
    assert entry["ready"] is True
    assert entry["state"]["running"]["startedAt"]
    kubelet.delete(one)


def test_status_carries_identity_and_job_id(kubelet, pod):
    one = pod("true")
    kubelet.create(one)
    (status,) = kubelet.ask([one])
    metadata = one["metadata"]
    told = (status["name"], status["namespace"], status["UID"], status["JID"])
    assert told == (metadata["name"], "default", metadata["uid"], metadata["annotations"]["JobID"])


def test_container_that_stays_in_the_cluster_goes_with_the_others(kubelet, pod, container):
    one = pod(containers=[container("main", "sleep 0.5; exit 0"), container("mesh", "unused")], init=["true"])
    one["metadata"]["annotations"]["interlink.eu/disable-offload-containers"] = "mesh"
    kubelet.create(one)
    kubelet.until(one, "Running")
    assert "running" in kubelet.states(one)["mesh"]
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    assert kubelet.states(one)["mesh"]["terminated"]["exitCode"] == 0


def test_init_container_that_stays_in_the_cluster_does_not_keep_the_pod_pending(kubelet, pod):
    one = pod("sleep 0.5", init=["unused", "true"])
    one["metadata"]["annotations"]["interlink.eu/disable-offload-init-containers"] = "init0"
    kubelet.create(one)
    kubelet.until(one, "Running")
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"


@pytest.mark.slow
def test_container_killed_with_its_job_is_not_a_success(kubelet, plugin, pod, eventually):
    one = pod("sleep 60")
    kubelet.create(one)
    kubelet.until(one, "Running")
    journal = plugin.pod_folder(one) / "journal"
    pid = int(journal.read_text().split("pid=")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    ended = kubelet.states(one)["main"]["terminated"]
    assert ended["exitCode"] != 0
    assert ended["message"]


def test_deleted_pod_ends_for_whoever_still_asks(kubelet, plugin, pod, eventually):
    one = pod("sleep 60")
    kubelet.create(one)
    kubelet.until(one, "Running")
    kubelet.delete(one)
    eventually(lambda: not plugin.pod_folder(one).exists())
    # Between the folder and the books its own end is still told.
    eventually(lambda: kubelet.states(one)["main"].get("terminated", {}).get("message") == "the pod was deleted")
    assert kubelet.states(one)["main"]["terminated"]["exitCode"] == 137


def test_many_pods_in_one_call_come_back_in_order(kubelet, pod):
    pods = [pod("true") for _ in range(200)]
    for one in pods:
        one["metadata"]["uid"] = str(uuid.uuid4())
    statuses = kubelet.ask(pods)
    assert [status["UID"] for status in statuses] == [one["metadata"]["uid"] for one in pods]


def test_fake_kubelet_itself_sees_the_traps(kubelet, pod, crash):
    """The fake must fail where the real one does, or these tests would prove nothing."""
    one = pod("true", containers=[{"name": "a"}, {"name": "b"}])
    uid = one["metadata"]["uid"]
    kubelet.pods[uid], kubelet.phases[uid] = one, "Pending"
    kubelet._take({"name": "x", "UID": uid, "containers": [], "initContainers": []})
    assert kubelet.phases[uid] == "Succeeded"
    failed = {"name": "a", "state": {"terminated": {"exitCode": 1}}}
    with pytest.raises(crash):
        kubelet._take({"name": "x", "UID": uid, "containers": [failed], "initContainers": []})


def test_a_sidecar_lets_its_pod_run_and_succeed(kubelet, pod, container):
    """The virtual kubelet would hold a pod pending as long as an init container runs."""
    proxy = container("proxy", "trap 'exit 9' TERM; while :; do sleep 0.05; done") | {"restartPolicy": "Always"}
    one = pod("while [ ! -e ../go ]; do sleep 0.05; done")
    one["spec"]["initContainers"] = [proxy, container("prep", "true")]
    kubelet.create(one)
    kubelet.until(one, "Running")
    assert kubelet.states(one)["proxy"]["terminated"]["message"] == "sidecar: runs"
    (kubelet.plugin.pod_folder(one) / "tmp" / "go").touch()
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    assert kubelet.states(one)["proxy"]["terminated"]["exitCode"] == 0


def test_a_container_that_is_not_ready_is_told_as_waiting(kubelet, pod, eventually):
    one = pod("while [ ! -e ../go ]; do sleep 0.05; done")
    one["spec"]["containers"][0]["readinessProbe"] = {
        "exec": {"command": ["test", "-e", "../go"]},
        "periodSeconds": 1,
    }
    kubelet.create(one)
    eventually(lambda: "not ready yet" in kubelet.states(one)["main"].get("waiting", {}).get("message", ""))
    assert kubelet.phase(one) == "Pending"
    (kubelet.plugin.pod_folder(one) / "tmp" / "go").touch()
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"


def test_a_failed_probe_is_told_in_words(kubelet, pod, eventually):
    one = pod("trap 'exit 0' TERM; while :; do sleep 0.05; done", restartPolicy="Always")
    live = {"exec": {"command": ["sh", "-c", "echo ill; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}
    one["spec"]["containers"][0]["livenessProbe"] = live
    kubelet.create(one)

    def told():
        waiting = kubelet.states(one)["main"].get("waiting") or {}
        return "its liveness probe failed: exit code 1: ill" in waiting.get("message", "")

    eventually(told)
    kubelet.delete(one)


def test_a_container_over_its_memory_is_told_as_such(kubelet, pod, container):
    hold = "python3 -c 'held = bytearray(150 << 20); import time; time.sleep(60)'"
    greedy = container("greedy", hold)
    greedy["resources"] = {"limits": {"memory": "64Mi", "cpu": "10m"}}
    one = pod(containers=[greedy])
    kubelet.create(one)
    assert kubelet.until(one, "Failed", seconds=60) == "Failed"
    state = kubelet.states(one)["greedy"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")
    assert state["message"].startswith("OOMKilled: used ")
    assert state["message"].endswith("Mi of 64Mi")
