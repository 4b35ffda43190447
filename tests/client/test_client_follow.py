"""Staying with pods until they end, against a real HTTP server."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flashlink.client import follow
from flashlink.client.follow import Logs, unbroken, watch
from flashlink.client.interlink import InterLink
from flashlink.errors import SiteError
from flashlink.pods.wire import LogOptions, LogRequest

POD: dict[str, Any] = {"metadata": {"name": "demo", "namespace": "default", "uid": "u-1"}, "spec": {}}
WAIT: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
RUN: dict[str, Any] = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}


def end(code: int, message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Completed", "message": message}}


def status(*states: dict[str, Any], restarts: int = 0) -> list[dict[str, Any]]:
    containers = [{"name": f"c{index}", "state": state, "restartCount": restarts} for index, state in enumerate(states)]
    return [{"name": "demo", "UID": "u-1", "namespace": "default", "JID": "7", "containers": containers}]


def in_turn(plugin: Any, path: str, *answers: tuple[int, Any]) -> None:
    """Answer `path` with each in turn, the last for ever."""
    left = list(answers)

    def answer(_: Any) -> tuple[int, bytes]:
        code, body = left.pop(0) if len(left) > 1 else left[0]
        return code, json.dumps(body).encode()

    plugin.answers[path] = answer


def test_changes_are_told_once_until_the_end(plugin: Any) -> None:
    states = [status(WAIT), status(WAIT), status(RUN), status(end(3))]
    in_turn(plugin, "/status", *((200, state) for state in states))
    with InterLink(plugin.endpoint) as link:
        seen = [told.containers[0].state for _, told in watch(link, [POD])]
    assert [bool(state.waiting) for state in seen] == [True, False, False]
    assert seen[-1].terminated is not None


def test_a_plugin_that_restarts_is_waited_for(plugin: Any) -> None:
    in_turn(plugin, "/status", (200, status(RUN)), (503, "later"), (200, []), (200, status(end(0))))
    with InterLink(plugin.endpoint) as link:
        assert len(list(watch(link, [POD]))) == 2


@pytest.mark.parametrize(("code", "body", "line"), [(503, "gone", "gone"), (200, [], "does not know pod demo")])
def test_patience_ends(plugin: Any, code: int, body: object, line: str) -> None:
    in_turn(plugin, "/status", (code, body))
    with InterLink(plugin.endpoint) as link, pytest.raises(SiteError, match=line):
        list(watch(link, [POD], patience=0.2))


def test_a_refusal_ends_it_at_once(plugin: Any) -> None:
    in_turn(plugin, "/status", (400, "no"))
    with InterLink(plugin.endpoint) as link, pytest.raises(SiteError, match="no"):
        list(watch(link, [POD]))


def test_a_broken_log_goes_on_where_it_was(plugin: Any) -> None:
    calls = []

    def broken(asked: Any) -> tuple[int, Iterator[bytes]]:
        calls.append(asked)

        def pieces() -> Iterator[bytes]:
            yield b"one\ntw"
            if len(calls) == 1:
                raise ConnectionAbortedError
            yield b"o\nthree\n"

        return 200, pieces()

    plugin.answers["/getLogs"] = broken
    request = LogRequest("u-1", "c0", Opts=LogOptions(Follow=True))
    with InterLink(plugin.endpoint) as link:
        assert b"".join(unbroken(link, request)) == b"one\ntwo\nthree\n"
    assert len(calls) == 2


def test_every_container_that_has_started_is_followed_once_an_instance(plugin: Any) -> None:
    plugin.answers["/getLogs"] = lambda asked: (200, asked.body["ContainerName"].encode() + b"\n")
    written: list[tuple[int, str, bytes]] = []
    with InterLink(plugin.endpoint) as link:
        logs = Logs(link, lambda index, name, piece: written.append((index, name, piece)))
        told = [
            status(WAIT, WAIT, WAIT),
            status(RUN, WAIT, WAIT),
            status(RUN, WAIT, WAIT),
            status(end(0), end(1), end(1, "not started: init container x failed")),
        ]
        for state in told:
            plugin.says("/status", 200, state)
            logs.see(0, link.status([POD])[0])
        plugin.says("/status", 200, status(RUN, restarts=1))
        logs.see(0, link.status([POD])[0])
        logs.close()
    assert sorted(written) == [(0, "c0", b"c0\n"), (0, "c0", b"c0\n"), (0, "c1", b"c1\n")]


def test_a_log_that_cannot_be_had_is_told_in_its_place(plugin: Any) -> None:
    plugin.says("/getLogs", 400, b"no log")
    plugin.says("/status", 200, status(RUN))
    written: list[bytes] = []
    with InterLink(plugin.endpoint) as link:
        logs = Logs(link, lambda _, __, piece: written.append(piece))
        logs.see(0, link.status([POD])[0])
        logs.close()
    assert written == [f"[the log ends here: {plugin.endpoint}: no log (HTTP 400)]\n".encode()]


def test_waiting_takes_no_longer_than_the_pod(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_FIRST", 60.0)
    in_turn(plugin, "/status", (200, status(end(0))))
    begin = time.monotonic()
    with InterLink(plugin.endpoint) as link:
        list(watch(link, [POD]))
    assert time.monotonic() - begin < 30
