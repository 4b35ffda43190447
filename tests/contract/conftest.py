"""A running plugin, and a fake virtual kubelet that treats its answers as interLink's real one does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Plugin:
    """A plugin process with the embedded local site; host processes, so that no container runtime matters."""

    def __init__(self, folder: Path, listen: str = "127.0.0.1:0", **site: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.listen = listen
        self.environment = {
            **os.environ,
            "FLASHLINK_SITE__CONTAINERS__RUNTIME": "host",
            "FLASHLINK_SITE__BATCH__POLL_SECONDS": "0.1",
            **{f"FLASHLINK_SITE__{key}": value for key, value in site.items()},
        }
        self.errors = folder / "plugin.err"
        self.former_clients: list[httpx.Client] = []
        self.start()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "flashlink", "plugin", "--listen", self.listen, "--state", str(self.state)]

    def start(self) -> None:
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(), env=self.environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        self.endpoint = line.split()[-1]
        self.client = self.new_client()

    def new_client(self) -> httpx.Client:
        if self.endpoint.startswith("unix:"):
            transport = httpx.HTTPTransport(uds=self.endpoint.removeprefix("unix:"))
            return httpx.Client(transport=transport, base_url="http://plugin", timeout=120)
        return httpx.Client(base_url=self.endpoint, timeout=120, limits=httpx.Limits(max_connections=None))

    def kill(self) -> None:
        self.process.kill()
        self._gone()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._gone()

    def _gone(self) -> int:
        code = self.process.wait(60)
        self.former_clients.append(self.client)  # other threads may still be using it
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def restart(self) -> None:
        self.start()

    def pod_folder(self, pod: dict[str, Any]) -> Path:
        return self.state / "work" / str(pod["metadata"]["uid"])

    def end(self) -> None:
        """Delete every pod and stop, so that no test leaves a process behind; whatever fails, nothing stays open."""
        try:
            if self.process.poll() is not None:
                self._gone()
                self.start()
            deleted: set[str] = set()
            wait_for(lambda: self._has_no_pod(deleted), 120)
            assert self.stop() == 0
        finally:
            self.kill()
            for client in self.former_clients:
                client.close()

    def _has_no_pod(self, deleted: set[str]) -> bool:
        """Whether no pod has a folder, or will have one; those that have one are deleted, once.

        On a busy machine creates are answered before their jobs are submitted, which is when the folders are made.
        """
        left = {folder.name for folder in (self.state / "work").iterdir()}
        for uid in left - deleted:
            answer = self.client.post("/delete", json={"metadata": {"uid": uid}, "spec": {}})
            assert answer.status_code == 200
            deleted.add(uid)
        figures = self.client.get("/metrics").text
        known = dict(re.findall(r'^flashlink_pods{state="(\w+)"} (.*)$', figures, re.MULTILINE))
        return not left and not any(float(known[state]) for state in ("unsubmitted", "waiting", "running", "deleting"))


class KubeletCrashError(Exception):
    """The real virtual kubelet would have dereferenced nil and died."""


class FakeVirtualKubelet:
    """What interLink's virtual kubelet and API server make of a plugin's answers, rewritten from its contract.

    It is a fake: no cluster stands behind it. It sends what they send, in the shape of interLink 0.5 and later, or of
    0.4 and before (`old`), refuses and crashes where they do, and computes the phases of pods as they do.
    """

    def __init__(self, plugin: Plugin, *, old: bool = False) -> None:
        self.plugin = plugin
        self.old = old
        self.pods: dict[str, dict[str, Any]] = {}
        self.phases: dict[str, str] = {}

    def create(self, pod: dict[str, Any], **request: Any) -> httpx.Response:
        """Send a create; on success keep the job id as annotation, else the pod has failed for good."""
        away = pod["metadata"]["annotations"]
        disabled = _listed(away, "interlink.eu/disable-offload-containers")
        disabled_init = _listed(away, "interlink.eu/disable-offload-init-containers")
        sent = json.loads(json.dumps(pod))
        sent["spec"]["containers"] = [each for each in sent["spec"]["containers"] if each["name"] not in disabled]
        inits = [each for each in sent["spec"].get("initContainers", []) if each["name"] not in disabled_init]
        sent["spec"]["initContainers"] = inits
        containers = [
            {"name": each["name"], "configMaps": None, "projectedvolumemaps": None, "secrets": None, "emptyDirs": None}
            for each in (*inits, *sent["spec"]["containers"])
        ]
        body: dict[str, Any] = {"pod": sent, "container": containers, **request}
        if not self.old:
            body.setdefault("jobConfig", {"SingularityHubProxy": {}, "ApptainerOptions": {}, "Volumes": {}})
            body.setdefault("jobScript", "")
        answer = self.plugin.client.post("/create", json=[body] if self.old else body)
        uid = pod["metadata"]["uid"]
        self.pods[uid] = pod
        if answer.status_code != 200:
            self.phases[uid] = "Failed"
            return answer
        told = answer.json()
        assert told["PodUID"] == uid, "the virtual kubelet would keep no job id"
        pod["metadata"]["annotations"]["JobID"] = told["PodJID"]
        self.phases[uid] = "Pending"
        return answer

    def delete(self, pod: dict[str, Any], grace: int | None = None) -> httpx.Response:
        """Send a delete and forget the pod at once, whatever the answer.

        As the API server has it, the grace is the pod's own unless the delete says otherwise.
        """
        if grace is None:
            grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        self.pods.pop(pod["metadata"]["uid"], None)
        body = json.loads(json.dumps(pod))
        body["metadata"] |= {"deletionTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": grace}
        return self.plugin.client.post("/delete", json=body)

    def ask(self, pods: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One status call: GET with a JSON body; anything but 200 is an error."""
        answer = self.plugin.client.request("GET", "/status", json=list(pods))
        assert answer.status_code == 200, answer.text
        statuses: list[dict[str, Any]] = answer.json()
        return statuses

    def sweep(self) -> None:
        """Ask about every pod that has not ended: one by one, or all at once as interLink up to 0.4 did."""
        living = [pod for uid, pod in self.pods.items() if self.phases[uid] not in ("Succeeded", "Failed")]
        calls = [living] if self.old and living else [[pod] for pod in living]
        for call in calls:
            for status in self.ask(call):
                self._take(status)

    def _take(self, status: dict[str, Any]) -> None:
        spec = self.pods[status["UID"]]["spec"]
        for entry in (*status["containers"], *status["initContainers"]):
            check_entry(entry)
        inits = [_kind(entry) for entry in status["initContainers"]]
        kinds = [_kind(entry) for entry in status["containers"]]
        init_failed = any(_code(entry) for entry in status["initContainers"])
        init_going = "running" in inits or ("waiting" in inits)
        if init_going:
            self.phases[status["UID"]] = "Pending"
        elif all(kind == "terminated" for kind in kinds):  # also true of an empty list
            failed = init_failed or any(_code(entry) for entry in status["containers"])
            if failed and {each["name"] for each in spec["containers"]} - {
                each["name"] for each in status["containers"]
            }:
                raise KubeletCrashError(f"no terminated state of a container of {status['name']}")
            self.phases[status["UID"]] = "Failed" if failed else "Succeeded"
        elif "running" in kinds:
            self.phases[status["UID"]] = "Running"

    def phase(self, pod: dict[str, Any]) -> str:
        """The phase that users see after one more sweep."""
        self.sweep()
        return self.phases[pod["metadata"]["uid"]]

    def until(self, pod: dict[str, Any], *phases: str, seconds: float = 30) -> str:
        """Sweep until the pod is in one of the phases."""
        wait_for(lambda: self.phase(pod) in phases, seconds)
        return self.phases[pod["metadata"]["uid"]]

    def states(self, pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Container name to its state, as answered now."""
        (status,) = self.ask([pod])
        return {entry["name"]: entry["state"] for entry in (*status["initContainers"], *status["containers"])}

    def logs(self, pod: dict[str, Any], container: str = "main", **options: Any) -> httpx.Response:
        """The log of a container, whole."""
        return self.plugin.client.request("GET", "/getLogs", json=self.log_request(pod, container, **options))

    @staticmethod
    def log_request(pod: dict[str, Any], container: str, **options: Any) -> dict[str, Any]:
        defaults = {"Tail": 0, "Bytes": 0, "Timestamps": False, "Follow": False, "Previous": False, "SinceSeconds": 0}
        names = {"Namespace": pod["metadata"]["namespace"], "PodName": pod["metadata"]["name"]}
        opts = {**defaults, "SinceTime": "0001-01-01T00:00:00Z", **options}
        return {**names, "PodUID": pod["metadata"]["uid"], "ContainerName": container, "Opts": opts}


def check_entry(entry: dict[str, Any]) -> None:
    """What a Go decoder and the virtual kubelet need of one ContainerStatus."""
    (kind,) = [kind for kind in ("waiting", "running", "terminated") if entry["state"].get(kind) is not None]
    state = entry["state"][kind]
    for key in ("startedAt", "finishedAt"):
        assert state.get(key) is None or RFC3339.fullmatch(state[key]), state
    if kind == "terminated":
        assert isinstance(state["exitCode"], int)


def _kind(entry: dict[str, Any]) -> str:
    return next(iter(entry["state"]))


def _code(entry: dict[str, Any]) -> int:
    return int((entry["state"].get("terminated") or {"exitCode": 0})["exitCode"])


def _listed(annotations: dict[str, str], key: str) -> set[str]:
    return {name.strip() for name in annotations.get(key, "").split(",")} - {""}


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> None:
    """Wait until `condition` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def make_pod(script: str = "true", *, init: Sequence[str] = (), **spec: Any) -> dict[str, Any]:
    """A pod whose container ``main`` runs a shell script, after init containers ``init0``, ``init1``…"""
    uid = str(uuid.uuid4())
    containers = spec.pop("containers", None) or [shell("main", script)]
    return {
        "metadata": {"name": f"pod-{uid[:8]}", "namespace": "default", "uid": uid, "annotations": {}, "labels": {}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "containers": containers,
            "initContainers": [shell(f"init{number}", text) for number, text in enumerate(init)],
            **spec,
        },
    }


def shell(name: str, script: str) -> dict[str, Any]:
    """A container that runs a shell script and asks for next to nothing."""
    requests = {"cpu": "10m", "memory": "1Mi"}
    return {"name": name, "image": "any", "command": ["sh", "-c", script], "resources": {"requests": requests}}


@pytest.fixture(scope="session")
def pod() -> Callable[..., dict[str, Any]]:
    return make_pod


@pytest.fixture(scope="session")
def container() -> Callable[[str, str], dict[str, Any]]:
    return shell


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    return wait_for


@pytest.fixture(scope="session")
def crash() -> type[Exception]:
    return KubeletCrashError


@pytest.fixture(scope="session")
def make_plugin() -> type[Plugin]:
    return Plugin


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    """One plugin for all tests of a module."""
    plugin = Plugin(tmp_path_factory.mktemp("plugin"))
    yield plugin
    plugin.end()


@pytest.fixture
def new_plugin(tmp_path: Path) -> Iterator[Callable[..., Plugin]]:
    """Plugins for one test, to be killed and restarted."""
    with ExitStack() as ends:

        def start(**site: str) -> Plugin:
            plugin = Plugin(Path(tempfile.mkdtemp(prefix="plugin", dir=tmp_path)), **site)
            ends.callback(plugin.end)
            return plugin

        yield start


@pytest.fixture
def kubelet(plugin: Plugin) -> FakeVirtualKubelet:
    """As of interLink 0.5 and later."""
    return FakeVirtualKubelet(plugin)


@pytest.fixture
def new_kubelet() -> Callable[..., FakeVirtualKubelet]:
    return FakeVirtualKubelet


@pytest.fixture
def together() -> Callable[..., list[Any]]:
    """Call a function on many things at the same time."""

    def run(function: Callable[[Any], Any], things: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(len(things)) as threads:
            return list(threads.map(function, things))

    return run
