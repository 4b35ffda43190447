"""Probes and hooks as they stand in a pod, and the one line for what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from flashlink.errors import RequestError
from flashlink.pods.probes import Exec, HttpGet, Life, Probe, Sleep, TcpSocket, life
from flashlink.pods.value import Value


def read(**fields: Any) -> Life:
    container = {"ports": [{"name": "web", "containerPort": 8080}, {"containerPort": 1}], **fields}
    return life(Value(container, "c"), lambda texts: tuple(text.replace("$(A)", "1") for text in texts.texts() or ()))


def test_a_container_without_any() -> None:
    assert life(Value({}, "c"), Value.texts) == Life()


def test_kubernetes_defaults() -> None:
    asked = read(livenessProbe={"exec": {"command": ["cat", "$(A)"]}, "periodSeconds": 0, "timeoutSeconds": None})
    assert asked == Life(liveness=Probe(Exec(("cat", "1")), 0, 10, 1, 1, 3, None))


def test_every_number() -> None:
    numbers = {
        "initialDelaySeconds": 1,
        "periodSeconds": 2,
        "timeoutSeconds": 3,
        "failureThreshold": 5,
        "terminationGracePeriodSeconds": 6,
    }
    assert read(startupProbe={"tcpSocket": {"port": 9}, **numbers}).startup == Probe(TcpSocket(9), 1, 2, 3, 1, 5, 6)
    assert read(readinessProbe={"tcpSocket": {"port": 9}, "successThreshold": 4}).readiness == Probe(
        TcpSocket(9), successes=4
    )


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"port": 80}, HttpGet(80)),
        ({"port": "web"}, HttpGet(8080)),
        ({"port": "81"}, HttpGet(81)),
        ({"port": 1, "path": "x y?q=ü#part"}, HttpGet(1, "/x%20y?q=%C3%BC")),
        ({"port": 1, "path": "/a%20b\r\nX: y"}, HttpGet(1, "/a%20b%0D%0AX:%20y")),
        ({"port": 1, "host": "::1", "scheme": "HTTPS"}, HttpGet(1, "/", "::1", "https")),
        (
            {"port": 1, "httpHeaders": [{"name": "X-A", "value": " b: c "}, {"name": "X-A"}]},
            HttpGet(1, headers=(("X-A", "b: c"), ("X-A", ""))),
        ),
    ],
)
def test_requests(request_: dict[str, Any], expected: HttpGet) -> None:
    probe = read(readinessProbe={"httpGet": request_}).readiness
    assert probe is not None
    assert probe.handler == expected


def test_hooks_are_not_expanded() -> None:
    hooks = {"postStart": {"exec": {"command": ["echo", "$(A)"]}}, "preStop": {"sleep": {"seconds": 3}}}
    asked = read(lifecycle={**hooks, "stopSignal": "SIGRTMIN+3"})
    assert asked == Life(post_start=Exec(("echo", "$(A)")), pre_stop=Sleep(3), stop_signal="SIGRTMIN+3")
    assert asked.words == ("echo", "$(A)")


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"livenessProbe": {"periodSeconds": 1}},
        "c.livenessProbe: nothing is to be done; give one of exec, httpGet, tcpSocket",
    ),
    (
        {"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
        "c.livenessProbe: exec and tcpSocket is to be done; give one of exec, httpGet, tcpSocket",
    ),
    (
        {"livenessProbe": {"exec": {"command": []}}},
        "c.livenessProbe.exec.command: [] is not a list of texts, a command with its arguments",
    ),
    (
        {"livenessProbe": {"grpc": {"port": 1}}},
        "c.livenessProbe.grpc: a job has nothing that speaks gRPC; use exec with a client of the image, or tcpSocket",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
        "c.livenessProbe.successThreshold: 2 is not 1, as it must be in startup and liveness probes",
    ),
    (
        {"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 2}},
        "c.readinessProbe.terminationGracePeriodSeconds: a readiness probe ends nothing; leave it out",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": -1}},
        "c.livenessProbe.periodSeconds: -1 is not a whole number from 0",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": "wab"}}},
        "c.livenessProbe.tcpSocket.port: 'wab' is not a port, from 1 to 65535 or by name one of the container's ports",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 65536}}},
        "c.livenessProbe.tcpSocket.port: 65536 is not a whole number from 1 to 65535",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1, "host": "a/b"}}},
        "c.livenessProbe.tcpSocket.host: 'a/b' is not the name or address of a host",
    ),
    (
        {"livenessProbe": {"httpGet": {"port": 1, "scheme": "ftp"}}},
        "c.livenessProbe.httpGet.scheme: 'ftp' is not one of 'HTTP', 'HTTPS', ''",
    ),
    (
        {"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "A b", "value": "x"}]}}},
        "c.livenessProbe.httpGet.httpHeaders[0].name: 'A b' is not the name of an HTTP header",
    ),
    (
        {"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "A", "value": "x\r\nB: y"}]}}},
        "c.livenessProbe.httpGet.httpHeaders[0].value: holds a control character, which no HTTP header can",
    ),
    (
        {"lifecycle": {"preStop": {"sleep": {"seconds": "1"}}}},
        "c.lifecycle.preStop.sleep.seconds: '1' is not a whole number from 0",
    ),
    (
        {"lifecycle": {"stopSignal": "TERM"}},
        "c.lifecycle.stopSignal: 'TERM' is not the name of a signal, as SIGTERM or SIGUSR1",
    ),
]


@pytest.mark.parametrize(("fields", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_one_line_says_what_cannot_be(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(**fields)
    assert str(caught.value) == line
