"""The plugin is killed, restarted, or loses all it knew: no pod is lost, none runs twice."""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

pytestmark = pytest.mark.slow  # each starts its plugin twice


def test_killed_while_a_pod_runs(new_plugin, new_kubelet, pod, tmp_path):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    trace = tmp_path / "trace"
    one = pod(f"echo ran >> {trace}; sleep 2; exit 9")
    kubelet.create(one)
    kubelet.until(one, "Running")
    plugin.kill()
    plugin.restart()
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    assert kubelet.states(one)["main"]["terminated"]["exitCode"] == 9
    assert trace.read_text() == "ran\n"


def test_pod_that_ended_while_the_plugin_was_away(new_plugin, new_kubelet, pod, eventually, tmp_path):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    done = tmp_path / "done"
    one = pod(f"sleep 1; echo said; touch {done}; exit 3")
    kubelet.create(one)
    kubelet.until(one, "Running")
    plugin.kill()
    eventually(done.exists)
    time.sleep(0.5)
    plugin.restart()
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    assert kubelet.states(one)["main"]["terminated"]["exitCode"] == 3
    assert kubelet.logs(one).text == "said\n"


def test_sigterm_lets_jobs_go_on(new_plugin, new_kubelet, pod):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    one = pod("sleep 1.5; exit 0")
    kubelet.create(one)
    kubelet.until(one, "Running")
    assert plugin.stop() == 0
    plugin.restart()
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"


def test_killed_in_the_middle_of_creates(new_plugin, new_kubelet, pod, tmp_path):
    """Whatever the moment: a pod whose create was answered runs once; one whose create was not, at most once."""
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    pods = {one["metadata"]["uid"]: one for one in (pod("unset") for _ in range(30))}
    for uid, one in pods.items():
        one["spec"]["containers"][0]["command"][2] = f"echo ran >> {tmp_path / uid}"
    with ThreadPoolExecutor(len(pods)) as threads:
        creates = {uid: threads.submit(_created, kubelet, one) for uid, one in pods.items()}
        time.sleep(random.uniform(0.0, 0.15))
        plugin.kill()
    answered = {uid for uid, future in creates.items() if future.result()}
    plugin.restart()
    for uid in answered:
        assert kubelet.until(pods[uid], "Succeeded", "Failed", seconds=60) == "Succeeded"
    for uid in pods.keys() - answered:  # interLink gives up on these, a client may try again
        assert kubelet.create(pods[uid]).status_code == 200
        assert kubelet.until(pods[uid], "Succeeded", "Failed", seconds=60) == "Succeeded"
    assert {(tmp_path / uid).read_text() for uid in pods} == {"ran\n"}


def _created(kubelet, one) -> bool:
    try:
        return bool(kubelet.create(one).status_code == 200)
    except httpx.TransportError:
        return False


def test_books_lost_and_jobs_adopted_by_the_annotation(new_plugin, new_kubelet, pod, tmp_path):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    go = tmp_path / "go"
    one = pod(f"until [ -e {go} ]; do sleep 0.1; done; exit 6", init=["true"])
    kubelet.create(one)
    kubelet.until(one, "Running")
    job_id = one["metadata"]["annotations"]["JobID"]
    _lose_books(plugin)
    assert kubelet.until(one, "Running", "Succeeded", "Failed") == "Running"
    (status,) = kubelet.ask([one])
    assert status["JID"] == job_id
    go.touch()
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    assert kubelet.states(one)["main"]["terminated"]["exitCode"] == 6


def test_books_lost_and_a_pod_deleted(new_plugin, new_kubelet, pod, eventually):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    one = pod("sleep 60")
    kubelet.create(one)
    kubelet.until(one, "Running")
    _lose_books(plugin)
    del one["metadata"]["annotations"]["JobID"]  # found by its uid alone
    assert kubelet.delete(one).status_code == 200
    eventually(lambda: not plugin.pod_folder(one).exists())


def test_all_state_lost_and_the_job_is_told_lost(new_plugin, new_kubelet, pod):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    one = pod("true")
    kubelet.create(one)
    kubelet.until(one, "Succeeded")
    kubelet.phases[one["metadata"]["uid"]] = "Running"  # the cluster had not noticed
    plugin.kill()
    shutil.rmtree(plugin.state)
    plugin.restart()
    assert kubelet.until(one, "Succeeded", "Failed") == "Failed"
    ended = kubelet.states(one)["main"]["terminated"]
    assert ended["exitCode"] != 0
    assert "not started" in ended["message"]


def _lose_books(plugin) -> None:
    plugin.kill()
    for path in plugin.state.glob("books.sqlite*"):
        path.unlink()
    plugin.restart()


def test_delete_survives_a_kill(new_plugin, new_kubelet, pod, eventually):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    one = pod("trap '' TERM; while :; do sleep 0.1; done", terminationGracePeriodSeconds=3)
    kubelet.create(one)
    kubelet.until(one, "Running")
    assert kubelet.delete(one).status_code == 200
    plugin.kill()
    plugin.restart()
    eventually(lambda: not plugin.pod_folder(one).exists())
    assert kubelet.create(one).status_code == 400
