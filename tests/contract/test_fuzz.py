"""The routes under fire: generated from their own description, broken, huge, deep; nothing shakes plugin and books."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import response_schema_conformance

from flashlink.plugin.openapi import describe
from pods import strategies

#: What a route may answer; a transient 503 tells that the batch system cannot be asked now.
STATUSES = {200, 400, 404, 405, 413, 422, 503}

load_all_checks()
api = schemathesis.openapi.from_dict(describe())


def often(count: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, make_plugin: Callable[..., Any]) -> Iterator[Any]:
    """A plugin whose container runtime is a fake that does nothing, so that no generated command ever runs."""
    folder = tmp_path_factory.mktemp("fuzz")
    fake = folder / "apptainer"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    plugin = make_plugin(
        folder,
        BATCH__CPUS="1000",
        BATCH__MEMORY="1000Gi",
        CONTAINERS__RUNTIME="apptainer",
        CONTAINERS__EXECUTABLE=str(fake),
        IMAGES__FOLDERS=json.dumps([f"{strategies.GRANTS}/images"]),
        VOLUMES__HOST_PATHS=json.dumps([f"{strategies.GRANTS}/data"]),
        VOLUMES__CLAIMS=json.dumps({"granted": f"{strategies.GRANTS}/claim"}),
    )
    yield plugin
    plugin.end()


def assert_sound(answer: httpx.Response) -> None:
    """An answer that is documented, and if it is an error one short sentence."""
    assert answer.status_code in STATUSES, (answer.status_code, answer.text)
    if answer.status_code != 200:
        assert answer.headers["content-type"].startswith("text/plain")
        line, end, rest = answer.text.partition("\n")
        assert (end, rest) == ("\n", "")
        assert line
        assert line.isprintable(), ascii(line)
        assert len(line) < 1000
        assert "Traceback" not in line
    if answer.status_code == 503:
        assert "the batch system" in answer.text


def sent(plugin: Any, method: str, route: str, body: bytes) -> httpx.Response:
    answer: httpx.Response = plugin.client.request(
        method, route, content=body, headers={"Content-Type": "application/json"}
    )
    assert_sound(answer)
    return answer


@api.parametrize()
@often(40)
def test_what_the_description_allows_and_what_it_does_not(case: Any, fuzzed: Any) -> None:
    answer = case.call(base_url=fuzzed.endpoint, timeout=60)
    assert answer.status_code in STATUSES, (answer.status_code, answer.text)
    if answer.status_code == 200:
        case.validate_response(answer, checks=[response_schema_conformance])
    else:
        assert answer.text.count("\n") == 1
        assert len(answer.text) < 1000


ROUTES = [
    *(("POST", "/create"), ("POST", "/delete"), ("GET", "/status"), ("POST", "/status")),
    *(("GET", "/getLogs"), ("POST", "/getLogs")),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | strategies.texts,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(strategies.texts, below, max_size=4),
    max_leaves=12,
)
known = st.sampled_from(
    ["pod", "metadata", "spec", "uid", "name", "containers", "PodUID", "ContainerName", "Opts", "Tail"]
)
meant = st.recursive(
    values, lambda below: st.dictionaries(known, below, max_size=4) | st.lists(below, max_size=2), max_leaves=8
)


@given(body=meant.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40), route=st.sampled_from(ROUTES))
@often(300)
def test_any_body_on_any_route(body: bytes, route: tuple[str, str], fuzzed: Any) -> None:
    sent(fuzzed, *route, body)


@given(
    request=strategies.spoiled() | strategies.requests(),
    cut=st.sampled_from([0, 0, 0, 1, 3]),
    route=st.sampled_from(ROUTES),
)
@often(200)
def test_pods_whole_and_torn_on_any_route(request: Any, cut: int, route: tuple[str, str], fuzzed: Any) -> None:
    pod = request["pod"]
    asked = {
        "/create": request,
        "/delete": pod,
        "/status": [pod],
        "/getLogs": {"PodUID": _uid(pod), "ContainerName": "c0"},
    }
    body = json.dumps(asked[route[1]]).encode()
    sent(fuzzed, *route, body[: len(body) * (4 - cut) // 4] if cut else body)


def _uid(pod: Any) -> Any:
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    return metadata.get("uid") if isinstance(metadata, dict) else None


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"pod":' * 100_000,
        b'{"metadata":{"uid":"' + b"x" * 5_000_000 + b'"}}',
        b'{"pod":{"metadata":{"labels":{' + b",".join(b'"k%d":"v"' % number for number in range(100_000)) + b"}}}}",
        b"1" * 1_000_000,
        b'{"PodUID":1e400,"ContainerName":-0}',
        b"\xff\xfe\x00",
        b"",
        b"null",
    ],
    ids=[
        "deep list",
        "deep object",
        "long uid",
        "many labels",
        "long number",
        "huge number",
        "no text",
        "empty",
        "null",
    ],
)
def test_monsters(fuzzed: Any, route: tuple[str, str], body: bytes) -> None:
    answer = sent(fuzzed, *route, body)
    assert answer.status_code in {400, 413}, answer.text


@pytest.mark.slow
@pytest.mark.parametrize("route", ["/create", "/status"])
def test_a_body_over_the_limit_is_refused_while_it_comes(fuzzed: Any, route: str) -> None:
    pieces = (b" " * 2**20 for _ in range(300))
    answer = fuzzed.client.post(route, content=pieces)
    assert answer.status_code == 413
    assert_sound(answer)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("route", ["/create", "/status", "/getLogs", "/nowhere", "/..%2f..%2fetc/passwd", "/create/"])
def test_other_methods_and_routes(fuzzed: Any, method: str, route: str) -> None:
    answer = fuzzed.client.request(method, route, content=b"{}")
    assert answer.status_code in {404, 405}
    assert_sound(answer)


def test_books_and_plugin_outlive_it_all(fuzzed: Any, new_kubelet: Callable[..., Any], pod: Callable[..., Any]) -> None:
    """Last in this file: a pod from before a restart is known after it, and nothing of a defect is in the log."""
    kubelet = new_kubelet(fuzzed)
    ours = pod("true")
    assert kubelet.create(ours).status_code == 200
    assert fuzzed.process.poll() is None
    counted = fuzzed.client.get("/metrics").text
    for route in ("/create", "/delete", "/status", "/getLogs"):
        assert f'flashlink_request_seconds_count{{code="400",route="{route}"}}' in counted
    assert fuzzed.process.poll() is None
    counted = fuzzed.client.get("/metrics").text
    for route in ("/create", "/delete", "/status", "/getLogs"):
        for code in (200, 400):
            assert f'flashlink_request_seconds_count{{code="{code}",route="{route}"}}' in counted
    assert fuzzed.client.get("/healthz").text == "ok\n"
    fuzzed.kill()
    fuzzed.restart()
    kubelet.until(ours, "Succeeded", "Failed", seconds=120)
    said = Path(fuzzed.errors).read_text()
    assert "request failed" not in said
    assert "Traceback" not in said
