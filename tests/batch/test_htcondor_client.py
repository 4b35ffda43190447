"""The process of HTCondor's bindings, which needs no daemon for what is asked here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobState, load
from flashlink.batch.htcondor import HTCondorBatch
from flashlink.batch.htcondor.client import Client
from flashlink.batch.system import BatchSystem
from flashlink.errors import SiteError

pytest.importorskip("htcondor2", reason="HTCondor's bindings are not for this machine")

#: A pool that nobody serves.
NOWHERE = {"pool": "127.0.0.1:9", "schedd": "nobody", "configuration": {}}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(NOWHERE, os.environ, tmp_path / "log")
    yield client
    client.close()


def process_of(client: Client) -> int:
    assert client._process is not None
    return client._process.pid


def test_expressions_are_checked_by_htcondors_own_parser(client: Client) -> None:
    wrong = client.call("check", expressions={"good": "Memory > 1 && HasSingularity", "bad": "(("})
    assert list(wrong) == ["bad"]


def test_an_expression_cannot_reach_out_of_its_brackets(client: Client) -> None:
    assert list(client.call("check", expressions={"sly": "true) || (true", "empty": ""})) == ["sly", "empty"]


def test_what_htcondor_says_becomes_an_error_that_may_pass(client: Client) -> None:
    with pytest.raises(SiteError) as raised:
        client.call("query", constraint="true", projection=["ClusterId"])
    assert raised.value.transient
    assert "\n" not in str(raised.value)


def test_a_process_that_died_is_started_again(client: Client) -> None:
    client.call("check", expressions={})
    os.kill(process_of(client), signal.SIGKILL)
    time.sleep(0.2)
    assert client.call("check", expressions={}) == {}


def test_a_call_without_an_answer_is_given_up(tmp_path: Path) -> None:
    client = Client(NOWHERE, os.environ, tmp_path / "log", longest=10.0)
    client.call("check", expressions={})
    stopped = process_of(client)
    client._longest = 0.3
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(SiteError, match=r"no answer within 0\.3 s") as raised:
        client.call("check", expressions={})
    assert raised.value.transient
    client._longest = 10.0
    assert client.call("check", expressions={}) == {}
    assert process_of(client) != stopped
    client.close()


def test_it_ends_with_the_plugin_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import os, time; from pathlib import Path; from flashlink.batch.htcondor.client import Client\n"
        f"client = Client({NOWHERE!r}, os.environ, Path({str(tmp_path / 'log')!r}))\n"
        "client.call('check', expressions={})\n"
        "print(client._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as plugin:
        assert plugin.stdout is not None
        bindings = int(plugin.stdout.readline())
        plugin.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 10
    while Path(f"/proc/{bindings}/cmdline").exists() and Path(f"/proc/{bindings}/cmdline").read_bytes():
        assert time.monotonic() < limit
        time.sleep(0.02)


def open_system(state: Path, **options: object) -> HTCondorBatch:
    return HTCondorBatch(state, cpus=4, memory=2**30, pods=10, options={"pool": "127.0.0.1:9", **options})


def test_a_system_opens_without_its_schedd_and_says_so_when_it_is_asked(tmp_path: Path) -> None:
    system = open_system(tmp_path / "state", schedd="nobody")
    assert isinstance(system, BatchSystem)
    with pytest.raises(SiteError) as raised:
        system.capacity()
    assert raised.value.transient
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    system.close()


class FakeSchedd:
    """A fake that listens where a CE would, and says `nonsense` to whoever comes, or nothing at all and never ends."""

    def __init__(self, nonsense: bytes | None) -> None:
        self._nonsense = nonsense
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._talks: list[socket.socket] = []
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                talk, _ = self._socket.accept()
                if self._nonsense is None:
                    self._talks.append(talk)
                    continue
                with talk, suppress(OSError):
                    talk.sendall(self._nonsense)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for talk in self._talks:
            talk.close()


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 4096, b"\xff" * 4096, bytes(range(256)) * 64, None],
    ids=["closes", "http", "zeros", "ones", "noise", "silent"],
)
def test_garbage_in_place_of_a_ce_is_told_in_time_and_may_pass(tmp_path: Path, nonsense: bytes | None) -> None:
    fake = FakeSchedd(nonsense)
    pool = f"127.0.0.1:{fake.port}"
    client = Client({"pool": pool, "schedd": "ce", "configuration": {}}, os.environ, tmp_path / "log", longest=30.0)
    client.call("check", expressions={})
    client._longest = 2.0
    try:
        for call in ({"name": "locate"}, {"name": "query", "constraint": "true", "projection": ["ClusterId"]}):
            with pytest.raises(SiteError, match="HTCondor") as raised:
                client.call(**call)
            assert raised.value.transient
            assert "\n" not in str(raised.value)
    finally:
        client.close()
        fake.close()


@pytest.mark.parametrize("line", [b'{"answer": [{"JobStatus": NaN}]}\n', b'{"answer": "\xff"}\n', b"Segmentation\n"])
def test_an_answer_that_makes_no_sense_ends_the_process_and_may_pass(
    client: Client, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    client.call("check", expressions={})
    with monkeypatch.context() as patched:
        patched.setattr(client, "_exchange", lambda _: line)
        with pytest.raises(SiteError, match="its answer makes no sense") as raised:
            client.call("check", expressions={})
    assert raised.value.transient
    assert client.call("check", expressions={}) == {}


def test_a_schedd_that_tells_of_a_job_without_its_id_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = open_system(tmp_path / "state", schedd="ce")
    answers: dict[str, Any] = {"locate": "ce", "query": [{"ClusterId": 1, "ProcId": 0}, {"ClusterId": "x"}]}
    monkeypatch.setattr(system._client, "call", lambda name, **_: answers[name])
    with pytest.raises(SiteError, match="a job without 'ClusterId'") as raised:
        system.query(["htcondor:ce:1.0", "htcondor:ce:2.0"])
    assert raised.value.transient
    answers["query"] = [{"ClusterId": 1, "ProcId": 0, "JobStatus": "4", "ExitCode": 0}]
    (told,) = system.query(["htcondor:ce:1.0"]).values()
    assert (told.state, told.exit_code) == (JobState.QUEUED, None)
    system.close()


def test_an_expression_that_is_none_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"batch\.options\.requirements: not a ClassAd expression"):
        open_system(tmp_path, requirements="((")


def test_the_entry_point_gives_the_class() -> None:
    assert load("htcondor") is HTCondorBatch
