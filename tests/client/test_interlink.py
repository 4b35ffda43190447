"""Calls to plugins, against a real HTTP server."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.client.interlink import InterLink, with_jid
from flashlink.errors import RequestError, SiteError
from flashlink.pods.wire import CreateAnswer, CreateRequest, LogOptions, LogRequest

POD: dict[str, Any] = {"metadata": {"name": "demo", "namespace": "default", "uid": "u-1"}, "spec": {}}
STATUS = {"name": "demo", "UID": "u-1", "namespace": "default", "JID": "7", "containers": [], "initContainers": []}


def test_ping_asks_for_the_status_of_no_pods(plugin: Any) -> None:
    resources = {"cpu": "8", "memory": "16Gi", "pods": "10", "accelerators": []}
    plugin.says("/status", 200, {"status": "ok", "resources": resources})
    with InterLink(plugin.endpoint) as link:
        ping = link.ping()
    assert ping.resources is not None
    assert ping.resources.memory == "16Gi"
    asked = plugin.asked[0]
    assert (asked.method, asked.path, asked.body, asked.content_type) == ("GET", "/status", [], "application/json")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"pong", b'{"status": 1}'])
def test_any_ping_with_200_is_well(plugin: Any, body: bytes) -> None:
    plugin.says("/status", 200, body)
    with InterLink(plugin.endpoint) as link:
        assert link.ping().status == "ok"


def test_create_sends_one_object(plugin: Any) -> None:
    plugin.says("/create", 200, {"PodUID": "u-1", "PodJID": "local:host:7"})
    with InterLink(plugin.endpoint) as link:
        assert link.create(CreateRequest(pod=POD, container=[])) == CreateAnswer("u-1", "local:host:7")
    assert plugin.asked[0].method == "POST"
    assert plugin.asked[0].body["pod"] == POD


def test_status_is_a_get_with_the_pods_in_its_body(plugin: Any) -> None:
    plugin.says("/status", 200, [STATUS])
    pod = with_jid(POD, "7")
    with InterLink(plugin.endpoint) as link:
        assert link.status([pod])[0].UID == "u-1"
        assert link.status([]) == []
    assert [(asked.method, asked.body) for asked in plugin.asked] == [("GET", [pod])]
    assert pod["metadata"]["annotations"] == {"JobID": "7"}
    assert "annotations" not in POD["metadata"]


def test_delete_carries_the_grace(plugin: Any) -> None:
    plugin.says("/delete", 200, b"")
    with InterLink(plugin.endpoint) as link:
        link.delete(POD)
        link.delete(POD, grace=5)
    assert [asked.body["metadata"].get("deletionGracePeriodSeconds") for asked in plugin.asked] == [None, 5]


def test_logs_come_as_they_are_written(plugin: Any) -> None:
    def slowly(_: Any) -> tuple[int, Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            yield b"first\n"
            time.sleep(0.3)
            yield b"last \xff"

        return 200, pieces()

    plugin.answers["/getLogs"] = slowly
    # A shorter patience than the silence: a followed log may be silent.
    with InterLink(plugin.endpoint, patience=0.1) as link:
        begin = time.monotonic()
        came = [
            (piece, time.monotonic() - begin)
            for piece in link.logs(LogRequest("u-1", "main", Opts=LogOptions(Follow=True)))
        ]
    assert [piece for piece, _ in came] == [b"first\n", b"last \xff"]
    assert came[0][1] < 0.25
    assert plugin.asked[0].body["Opts"]["Follow"] is True


def test_a_unix_socket(socket_plugin: Any) -> None:
    socket_plugin.says("/status", 200, [STATUS])
    path = socket_plugin.endpoint.removeprefix("unix:")
    for endpoint in (f"unix:{path}", f"unix://{path}"):
        with InterLink(endpoint) as link:
            assert link.status([POD])[0].name == "demo"


def test_a_proxy_of_the_environment_is_not_for_plugins(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    plugin.says("/status", 200, [STATUS])
    with InterLink(plugin.endpoint) as link:
        assert link.status([POD])


@pytest.mark.parametrize(
    ("status", "body", "line", "transient"),
    [
        (400, b"spec.hostPID: leave it out\n", "spec.hostPID: leave it out (HTTP 400)", False),
        (500, b"it&#39;s broken", "it's broken (HTTP 500)", False),
        (503, b"", "Service Unavailable (HTTP 503)", True),
        (429, b"later", "later (HTTP 429)", True),
    ],
)
def test_a_refusal_is_the_plugins_own_line(plugin: Any, status: int, body: bytes, line: str, transient: bool) -> None:
    plugin.says("/create", status, body)
    plugin.says("/getLogs", status, body)
    with InterLink(plugin.endpoint) as link:
        for call in (lambda: link.create(CreateRequest(pod=POD)), lambda: list(link.logs(LogRequest("u-1", "main")))):
            with pytest.raises(SiteError) as caught:
                call()
            assert str(caught.value) == f"{plugin.endpoint}: {line}"
            assert caught.value.transient is transient


def test_a_long_refusal_is_cut(plugin: Any) -> None:
    plugin.says("/create", 400, b"x\n" * 5000)
    with InterLink(plugin.endpoint) as link, pytest.raises(SiteError) as caught:
        link.create(CreateRequest(pod=POD))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("body", [b"<html>", b"", b"5", b'["a"]', b'{"containers": 1}', b'[{"containers": [1]}]'])
def test_garbage_is_told_and_not_tried_again(plugin: Any, body: bytes) -> None:
    plugin.says("/status", 200, body)
    with InterLink(plugin.endpoint) as link, pytest.raises(SiteError, match="is it an interLink plugin") as caught:
        link.status([POD])
    assert not caught.value.transient


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "unix:/nonexistent/socket"])
def test_nobody_there_is_transient(endpoint: str) -> None:
    with InterLink(endpoint) as link, pytest.raises(SiteError, match="no interLink plugin answers") as caught:
        link.ping()
    assert caught.value.transient
    assert "Errno" not in str(caught.value)


def test_a_plugin_that_does_not_answer_is_transient(plugin: Any) -> None:
    def never(_: Any) -> tuple[int, bytes]:
        time.sleep(0.5)
        return 200, b""

    plugin.answers["/status"] = never
    with InterLink(plugin.endpoint, patience=0.1) as link, pytest.raises(SiteError, match="in time") as caught:
        link.ping()
    assert caught.value.transient


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:4000", "ftp://x", "http://", "unix:", "http://[", "http:///x"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(RequestError, match=r"endpoint: .* is not (http://HOST:PORT or unix:PATH|unix:PATH)"):
        InterLink(endpoint)


def test_a_pod_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with InterLink("http://127.0.0.1:1") as link, pytest.raises(RequestError, match="cannot be written as JSON"):
        link.create(CreateRequest(pod={"metadata": {"name": "\ud800"}}))
