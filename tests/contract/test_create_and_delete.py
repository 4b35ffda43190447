"""Creates and deletes: once each, at any time, in any order."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from pathlib import Path

import pytest


def test_same_create_twice_runs_once_and_answers_the_same(kubelet, pod, tmp_path):
    trace = tmp_path / "trace"
    one = pod(f"echo ran >> {trace}; sleep 0.5")
    first = kubelet.create(one).json()
    assert kubelet.create(one).json() == first
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    assert kubelet.create(one).json() == first
    assert trace.read_text() == "ran\n"


def test_same_create_at_the_same_time_runs_once(kubelet, pod, together, tmp_path):
    trace = tmp_path / "trace"
    one = pod(f"echo ran >> {trace}")
    answers = together(kubelet.create, [json.loads(json.dumps(one)) for _ in range(10)])
    assert len({answer.text for answer in answers}) == 1
    kubelet.until(one, "Succeeded")
    assert trace.read_text() == "ran\n"


def test_refused_pod_gets_one_sentence_and_leaves_nothing(kubelet, plugin, pod):
    one = pod("true", volumes=[{"name": "etc", "hostPath": {"path": "/etc"}}])
    one["spec"]["containers"][0]["volumeMounts"] = [{"name": "etc", "mountPath": "/mnt"}]
    answer = kubelet.create(one)
    assert answer.status_code == 422
    assert answer.text.count("\n") == 1
    assert "volumes.host_paths" in answer.text
    assert not plugin.pod_folder(one).exists()
    assert "waiting" in kubelet.states(one)["main"]


def test_pod_too_large_for_the_site_is_refused_by_the_batch_system(kubelet, plugin, pod):
    one = pod("true")
    one["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100000"}}
    answer = kubelet.create(one)
    assert answer.status_code == 422
    assert "100000 cores" in answer.text
    assert not plugin.pod_folder(one).exists()
    assert kubelet.create(one).status_code == 422


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a create request"),
        (b'{"pod": {"metadata": {"uid": "../../x", "name": "a", "namespace": "b"}, "spec": {}}}', "containers"),
        (b'{"pod": 7}', "not a create request"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_wrong_create_is_one_line_with_400(plugin, body, said):
    answer = plugin.client.post("/create", content=body)
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1
    assert said in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("uid", ["../../etc", "a/b", "", "x" * 65, "a\0b", "-rf"])
@pytest.mark.parametrize("route", ["create", "delete", "status", "getLogs"])
def test_unsafe_uid_is_refused_by_every_route(plugin, pod, route, uid):
    one = pod("true")
    one["metadata"]["uid"] = uid
    logs = {"PodUID": uid, "ContainerName": "main", "PodName": "a", "Namespace": "b", "Opts": {}}
    body = {"create": {"pod": one}, "delete": one, "status": [one], "getLogs": logs}[route]
    answer = plugin.client.post(f"/{route}", json=body)
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1


def test_delete_ends_the_job_and_removes_every_trace(kubelet, plugin, pod, eventually):
    one = pod("sleep 300 & echo $! >&2; wait")
    kubelet.create(one)
    kubelet.until(one, "Running")
    eventually(lambda: kubelet.logs(one).text.strip().isdigit())
    child = int(kubelet.logs(one).text)
    assert kubelet.delete(one).status_code == 200
    eventually(lambda: not plugin.pod_folder(one).exists())
    assert not _lives(child)
    assert kubelet.delete(one).status_code == 200


def _lives(pid: int) -> bool:
    """A zombie that its new parent has not reaped yet is dead."""
    stat = _read(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(b") ")[2][:1] not in (b"Z", b"X")


def test_delete_gives_the_grace(kubelet, plugin, pod, eventually, tmp_path):
    farewell = tmp_path / "farewell"
    one = pod(f"trap 'echo bye > {farewell}; exit 0' TERM; echo up; while :; do sleep 0.1; done")
    kubelet.create(one)
    eventually(lambda: kubelet.logs(one).text == "up\n")
    kubelet.delete(one)
    eventually(lambda: not plugin.pod_folder(one).exists())
    assert farewell.read_text() == "bye\n"


@pytest.mark.slow
@pytest.mark.parametrize(("own", "asked", "least", "most"), [(600, 0, 0.0, 60.0), (0, 2, 1.9, 60.0)])
def test_delete_gives_the_grace_that_it_asks_for(kubelet, plugin, pod, eventually, own, asked, least, most):
    """As in Kubernetes it stands over the pod's own; the pod does not listen to SIGTERM."""
    one = pod("trap '' TERM; echo up; while :; do sleep 0.1; done", terminationGracePeriodSeconds=own)
    kubelet.create(one)
    eventually(lambda: kubelet.logs(one).text == "up\n")
    began = time.monotonic()
    kubelet.delete(one, asked)
    eventually(lambda: not plugin.pod_folder(one).exists())
    assert least <= time.monotonic() - began <= most


def test_delete_with_a_grace_that_is_none_is_one_line(kubelet, plugin, pod):
    answer = plugin.client.post("/delete", json={"metadata": {"uid": "a", "deletionGracePeriodSeconds": "soon"}})
    assert answer.status_code == 400
    assert "deletionGracePeriodSeconds" in answer.text
    assert answer.text.count("\n") == 1


def test_delete_of_an_unknown_pod_is_fine(kubelet, pod):
    one = pod("true")
    assert kubelet.delete(one).status_code == 200
    assert kubelet.delete(one).status_code == 200


def test_delete_before_create_leaves_a_tombstone(kubelet, pod, tmp_path, eventually):
    trace = tmp_path / "trace"
    one, other = pod(f"echo ran >> {trace}"), pod("true")
    kubelet.delete(one)
    answer = kubelet.create(one)
    assert answer.status_code == 400
    assert "deleted already" in answer.text
    kubelet.create(other)
    kubelet.until(other, "Succeeded")
    assert not trace.exists()


def test_delete_during_create_leaves_no_job(kubelet, plugin, pod, together, eventually):
    pods = [pod("sleep 60") for _ in range(10)]
    calls = [(kubelet.create, one) for one in pods] + [(kubelet.delete, json.loads(json.dumps(one))) for one in pods]
    together(lambda call: call[0](call[1]), calls)
    eventually(lambda: not any(plugin.pod_folder(one).exists() for one in pods))
    eventually(lambda: _jobs(plugin, pods) == 0)


def _jobs(plugin, pods) -> int:
    """How many of these pods have a process that carries their uid."""
    marks = {b"FLASHLINK_POD=" + one["metadata"]["uid"].encode() for one in pods}
    count = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            count += bool(marks.intersection(path.read_bytes().split(b"\0")))
        except OSError:
            continue
    return count


def test_secrets_stay_out_of_logs_arguments_and_finished_books(new_plugin, new_kubelet, pod, eventually):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    secret = f"secret-{uuid.uuid4()}"
    one = pod('test -n "$PASSWORD" && sleep 0.8')
    one["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": secret}]
    kubelet.create(one)
    kubelet.until(one, "Running")
    assert secret.encode() not in b"".join(_read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    assert secret not in plugin.errors.read_text()
    with sqlite3.connect(plugin.state / "books.sqlite") as books:
        assert books.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    books.close()
    eventually(lambda: not (plugin.pod_folder(one) / "tmp").exists())
    for path in (plugin.state, *plugin.state.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_two_hundred_creates_at_once_are_all_taken(new_plugin, new_kubelet, pod, together):
    kubelet = new_kubelet(new_plugin(BATCH__PODS="2"))  # most stay in the queue: two hundred jobs at once take minutes
    pods = [pod("true") for _ in range(200)]
    answers = together(kubelet.create, pods)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["PodJID"] for answer in answers}) == 200


def test_nothing_runs_as_a_child_that_dies_with_the_plugin(kubelet, plugin, pod):
    one = pod("sleep 60")
    kubelet.create(one)
    kubelet.until(one, "Running")
    pid = int((plugin.pod_folder(one) / "journal").read_text().split("pid=")[1].split()[0])
    assert os.getsid(pid) != os.getsid(plugin.process.pid)
    kubelet.delete(one)
