"""``flashlink submit``, ``status``, ``logs``, ``delete`` and ``script`` against a running plugin with real jobs."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.cli import main
from flashlink.client.books import Books, Entry

POD = """
kind: Secret
metadata: {{name: s}}
stringData: {{word: hunter2}}
---
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    command: [sh, -c, {script!r}]
    env: [{{name: WORD, valueFrom: {{secretKeyRef: {{name: s, key: word}}}}}}]
"""

SIDE = "  - {name: side, image: busybox, command: [echo, other]}\n"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A plugin of the embedded local site, in a process of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    address = f"unix:{folder}/s"
    command = [sys.executable, "-m", "flashlink", "plugin", "--listen", address, "--state", str(folder / "state")]
    environment = {
        **os.environ,
        "FLASHLINK_SITE__CONTAINERS__RUNTIME": "host",
        "FLASHLINK_SITE__BATCH__POLL_SECONDS": "0.1",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), (folder / "log").read_text()
            yield address
        finally:
            process.terminate()


@pytest.fixture(autouse=True)
def _own_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("FLASHLINK_ENDPOINT", raising=False)


def manifest(folder: Path, script: str, *, name: str = "demo", more: str = "") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(POD.format(name=name, script=script) + more)
    return str(path)


def run(*arguments: str) -> int:
    """The exit status of ``flashlink``, as its process would have it."""
    try:
        return main(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0


def listed(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capfd.readouterr()
    assert run("status", "--json") == 0
    found: list[dict[str, Any]] = json.loads(capfd.readouterr().out)
    return found


def test_the_life_of_a_pod(tmp_path: Path, endpoint: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = manifest(tmp_path, "echo $WORD; echo two; exit 3")
    assert run("submit", path, "--endpoint", endpoint, "--wait") == 3
    out, err = capfd.readouterr()
    assert out.startswith("default/demo submitted as local:")
    assert err == "default/demo: Failed: container main ended with exit code 3\n"

    assert run("status", "demo") == 0
    heading, row = capfd.readouterr().out.splitlines()
    assert heading.split() == ["NAMESPACE", "NAME", "PHASE", "AGE", "UID", "JOB", "REASON"]
    assert row.split()[:3] == ["default", "demo", "Failed"]

    assert run("logs", "demo") == 0
    assert capfd.readouterr() == ("hunter2\ntwo\n", "")
    assert run("logs", "demo", "--tail", "1", "--timestamps", "--since", "1h") == 0
    assert capfd.readouterr().out.split("Z ")[1] == "two\n"

    (told,) = listed(capfd)
    assert (told["phase"], told["exitCode"], told["endpoint"]) == ("Failed", 3, endpoint)
    assert told["containers"][0]["state"]["terminated"]["exitCode"] == 3

    assert run("delete", "demo") == 0
    assert capfd.readouterr().out == "default/demo deleted\n"
    assert listed(capfd) == []


def test_logs_of_several_containers_carry_their_names(
    tmp_path: Path, endpoint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path, "echo one; printf last", more=SIDE)
    assert run("submit", path, "--endpoint", endpoint, "--logs") == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ["[main] last", "[main] one", "[side] other"]
    assert run("logs", "demo", "-c", "side") == 0
    assert capfd.readouterr().out == "other\n"
    assert run("logs", "demo", "-c", "no") == 1
    assert capfd.readouterr().err == "flashlink: --container: 'no' is not a container of demo; it has main, side\n"


def test_the_log_of_one_container_is_byte_for_byte(
    tmp_path: Path, endpoint: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = manifest(tmp_path, r"printf '\377\0a\nb'")
    assert run("submit", path, "--endpoint", endpoint, "--logs") == 0
    assert capfdbinary.readouterr().out == b"\xff\0a\nb"


def test_json_tells_the_outcome(tmp_path: Path, endpoint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("submit", manifest(tmp_path, "exit 0"), "--endpoint", endpoint, "--wait", "--json") == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert (told["name"], told["phase"], told["exitCode"]) == ("demo", "Succeeded", 0)


def test_follow_shows_lines_while_the_pod_runs_and_delete_ends_it(
    tmp_path: Path, endpoint: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASHLINK_ENDPOINT", endpoint)
    assert run("submit", manifest(tmp_path, "echo begun; exec sleep 60")) == 0
    deadline = time.monotonic() + 20
    while listed(capfd)[0]["phase"] != "Running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    follower = threading.Thread(target=run, args=("logs", "-f", "demo"))
    follower.start()
    time.sleep(0.7)
    assert follower.is_alive()
    assert capfd.readouterr().out == "begun\n"
    assert run("delete", "demo", "--grace", "0") == 0
    follower.join(20)
    assert not follower.is_alive()


def test_watch_prints_each_change_until_all_have_ended(
    tmp_path: Path, endpoint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    flag = tmp_path / "go"
    assert run("submit", manifest(tmp_path, f"until test -e {flag}; do sleep 0.1; done"), "--endpoint", endpoint) == 0
    capfd.readouterr()
    watcher = threading.Thread(target=run, args=("status", "--watch"))
    watcher.start()
    seen = ""
    deadline = time.monotonic() + 20
    while "Running" not in seen:
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
        seen += capfd.readouterr().out
    assert watcher.is_alive()
    flag.touch()
    watcher.join(20)
    seen += capfd.readouterr().out
    heading, *rows = [line.split() for line in seen.splitlines()]
    assert heading[:3] == ["NAMESPACE", "NAME", "PHASE"]
    phases = [row[2] for row in rows]
    assert phases[-2:] == ["Running", "Succeeded"]
    assert run("status", "--watch", "--json") == 2


def test_somebody_who_waits_at_a_terminal_sees_why(tmp_path: Path, endpoint: str) -> None:
    master, terminal = os.openpty()
    path = manifest(tmp_path, "sleep 1.5; exit 4")
    command = [sys.executable, "-m", "flashlink", "submit", path, "--endpoint", endpoint, "--wait"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=False, timeout=60)
    os.close(terminal)
    seen = os.read(master, 10000).decode().splitlines()
    os.close(master)
    assert done.returncode == 4
    assert seen[-2:] == ["default/demo: Running", "default/demo: Failed: container main ended with exit code 4"]
    assert len(set(seen)) == len(seen)


def test_what_the_plugin_refuses_is_one_line_and_leaves_nothing(
    tmp_path: Path, endpoint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path, "true", more="  hostPID: true\n")
    assert run("submit", path, "--endpoint", endpoint) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        f"flashlink: pod default/demo: {endpoint}: "
        "spec.hostPID: a job may not look at other processes of the worker; leave it out (HTTP 400)\n"
    )
    assert listed(capfd) == []


def test_a_plugin_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("submit", manifest(tmp_path, "true"), "--endpoint", "http://127.0.0.1:1") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "flashlink: http://127.0.0.1:1: no interLink plugin answers (Connection refused); "
        "start one with 'flashlink plugin' or name another endpoint\n"
    )
    assert listed(capfd) == []


def test_pods_of_a_plugin_that_has_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pod = {"metadata": {"uid": "u-1"}, "spec": {"containers": [{"name": "main"}]}}
    Books().add(Entry("u-1", "demo", "default", "unix:/nonexistent", "7", 1.0, pod))
    (told,) = listed(capfd)
    assert told["phase"] == "Unknown"
    assert "no interLink plugin answers" in told["reason"]
    assert run("delete", "demo") == 1
    assert "--forget strikes the pod out" in capfd.readouterr().err
    assert run("delete", "demo", "--forget") == 0
    assert listed(capfd) == []


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["submit", "/none.yaml"], 1, "flashlink: /none.yaml: No such file or directory; give a file"),
        (["logs", "none"], 1, "flashlink: none: no pod of this name or uid was submitted from here"),
        (["logs", "none", "--tail", "0"], 2, "flashlink: Invalid value for '--tail'"),
        (["status", "none"], 1, "flashlink: none: no pod"),
        (["delete"], 2, "flashlink: Missing argument 'POD...'"),
        (["script", "/none.yaml"], 1, "flashlink: /none.yaml: No such file"),
    ],
)
def test_asked_wrongly(arguments: list[str], status: int, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize("since", ["10", "x", "0s", "-5s", "", "1s1m"])
def test_a_wrong_duration(tmp_path: Path, since: str, capfd: pytest.CaptureFixture[str]) -> None:
    pod = {"metadata": {"uid": "u-1"}, "spec": {"containers": [{"name": "main"}]}}
    Books().add(Entry("u-1", "demo", "default", "unix:/nonexistent", "7", 1.0, pod))
    assert run("logs", "demo", f"--since={since}") == 1
    assert "--since" in capfd.readouterr().err


def test_script_masks_secrets_wherever_they_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASHLINK_SITE__CONTAINERS__RUNTIME", "host")
    mount = "    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, secret: {secretName: s}}]\n"
    path = manifest(tmp_path, "cat /v/word; echo $(WORD)", more=mount)
    assert run("script", path) == 0
    masked = capfd.readouterr().out
    assert masked.startswith("#!/bin/bash\n")
    assert "hunter2" not in masked
    places = ["volume_file v word 0644 '{}' ", "with_env WORD '{}'\n", "cat /v/word; echo {}'\n"]
    assert all(place.format("(secret)") in masked for place in places)
    assert run("script", path, "--show-secrets") == 0
    shown = capfd.readouterr().out
    assert all(place.replace("'{}'", "{}").format("hunter2") in shown for place in places)


def test_script_tells_what_the_site_refuses(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASHLINK_SITE__CONTAINERS__RUNTIME", "host")
    path = manifest(tmp_path, "true", more="  hostPID: true\n")
    assert run("script", path) == 1
    out, err = capfd.readouterr()
    assert (out, err.split(": ")[1:4]) == ("", [path, "Pod demo", "spec.hostPID"])
