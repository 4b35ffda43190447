"""What becomes of slurmrestd's answers, good ones and others. This one is a fake; the real one is in tests/lab."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobSpec, JobState
from flashlink.batch.slurm.options import read
from flashlink.batch.slurm.refusals import UnsureError
from flashlink.batch.slurm.rest import Rest
from flashlink.errors import SiteError

VERSION = "/slurm/v0.0.45"
CLAIMS = base64.urlsafe_b64encode(json.dumps({"sun": "me", "exp": 1}).encode()).decode().rstrip("=")
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.{CLAIMS}.secret"


class FakeServer(ThreadingHTTPServer):
    """Answers what a test wants, by path; notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.says: dict[str, tuple[int, Any]] = {"/openapi/v3": (200, paths(41, 42, 45, 46))}
        self.asked: list[tuple[str, str, Any]] = []
        self.pause = 0.0
        self.cut = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def answer(self) -> None:
        path, _, words = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((f"{self.command} {path}", words, json.loads(body) if body else None))
        if path != "/openapi/v3":
            time.sleep(self.server.pause)
            if self.server.cut:
                return
        code, said = self.server.says.get(path, (404, "Unable to find requested URL"))
        if self.headers.get("X-SLURM-USER-TOKEN") not in (TOKEN, f"{TOKEN}2"):
            code, said = 401, "Authentication failure"
        text = said if isinstance(said, bytes) else (said if isinstance(said, str) else json.dumps(said)).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 (the server's own names)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def paths(*versions: int) -> str:
    """Slurm writes every slash with a backslash before it."""
    return json.dumps({"paths": {f"/slurm/v0.0.{version}/jobs/": {} for version in versions}}).replace("/", "\\/")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(f"SLURM_JWT={TOKEN}\n")
    return path


@pytest.fixture
def rest(server: FakeServer, token: Path) -> Iterator[Callable[..., Rest]]:
    made: list[Rest] = []

    def make(**options: Any) -> Rest:
        made.append(Rest(read({"rest": server.url, "token_file": str(token), "command_seconds": 1, **options})))
        return made[-1]

    yield make
    for each in made:
        each.close()


def job(**words: str) -> JobSpec:
    folder = Path("/pods/uid-1")
    return JobSpec("uid-1", "pod", folder / "job.sh", folder, 1.5, 2**20 + 1, 0, 2, 61, 30, words)


def queued(number: int, user: str, states: list[str], code: int = 0, signal: int = 0) -> dict[str, Any]:
    return {
        "job_id": number,
        "user_name": user,
        "name": f"pod.uid-{number}",
        "job_state": states,
        "state_reason": "None",
        "exit_code": {
            "return_code": {"set": True, "number": code},
            "signal": {"id": {"set": bool(signal), "number": signal}},
        },
        "start_time": {"set": True, "infinite": False, "number": 1000},
        "something": {"new": [1]},
    }


@pytest.mark.parametrize(("known", "taken"), [((41, 42, 43), 43), ((45, 46), 45), ((47, 46), 46)])
def test_the_newest_version_that_both_know(rest: Any, server: FakeServer, known: Any, taken: int) -> None:
    server.says |= {"/openapi/v3": (200, paths(*known)), f"/slurm/v0.0.{taken}/jobs/": (200, {"jobs": []})}
    assert rest().queue() == []


def test_no_version_that_is_known(rest: Any, server: FakeServer) -> None:
    server.says["/openapi/v3"] = (200, paths(39, 40))
    with pytest.raises(SiteError, match=r"versions v0\.0\.39, v0\.0\.40; v0\.0\.42 or later is needed"):
        rest().queue()


def test_by_https_the_server_has_to_be_known(rest: Any, server: FakeServer, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=slurm", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, *names, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.says[f"{VERSION}/jobs/"] = (200, {"jobs": []})
    address = server.url.replace("http:", "https:")
    assert rest(rest=address, ca_file=str(certificate)).queue() == []
    with pytest.raises(SiteError, match=r"cannot be reached: .*certificate.* belong in ca_file$") as caught:
        rest(rest=address).queue()
    assert caught.value.transient


def test_a_job_in_slurms_words(rest: Any, server: FakeServer) -> None:
    server.says[f"{VERSION}/job/submit"] = (200, {"job_id": 7, "errors": []})
    asks = rest(partition="cpu", gpu="gpu:a100", exclusive=True, arguments=["--licenses=cvmfs"], prologue=["module x"])
    assert asks.submit([asks.describe(job(qos="high"))]) == [7]
    (what, _, body) = server.asked[-1]
    assert what == f"POST {VERSION}/job/submit"
    assert body["script"].startswith("#!/bin/bash\nmodule x\n")
    described = body["job"]
    assert described.pop("environment")
    assert described == {
        "name": "pod.uid-1",
        "current_working_directory": "/pods/uid-1",
        "standard_output": "/pods/uid-1/job.log",
        "open_mode": "append",
        "argv": ["flashlink", "/pods/uid-1/job.sh", "/pods/uid-1", "uid-1", "30"],
        "nodes": "1",
        "tasks": 1,
        "cpus_per_task": 2,
        "memory_per_node": {"set": True, "number": 2},
        "time_limit": {"set": True, "number": 2},
        "tres_per_node": "gres/gpu:a100:2",
        "partition": "cpu",
        "shared": ["none"],
        "licenses": "cvmfs",
        "qos": "high",
    }


@pytest.mark.parametrize(
    ("site", "pod", "requeue"),
    [({}, {}, None), ({"requeue": False}, {}, False), ({"requeue": True}, {"no-requeue": ""}, False)],
)
def test_whether_slurm_may_start_a_job_again(
    rest: Any, server: FakeServer, site: dict[str, bool], pod: dict[str, str], requeue: bool | None
) -> None:
    server.says[f"{VERSION}/job/submit"] = (200, {"job_id": 7, "errors": []})
    asks = rest(**site)
    asks.submit([asks.describe(job(**pod))])
    assert server.asked[-1][2]["job"].get("requeue") is requeue


def test_only_our_jobs_count_and_a_flag_stands_over_the_state(rest: Any, server: FakeServer) -> None:
    jobs = [
        queued(1, "me", ["RUNNING"]),
        queued(2, "other", ["RUNNING"]),
        queued(3, "me", ["COMPLETED", "COMPLETING"]),
        queued(4, "me", ["FAILED"], code=3),
        queued(5, "me", ["FAILED"], signal=9),
        queued(6, "me", ["CANCELLED"]),
    ]
    server.says[f"{VERSION}/jobs/"] = (200, {"jobs": jobs})
    found = {row.number: (row.uid, row.status.state, row.status.exit_code) for row in rest().queue()}
    assert found == {
        1: ("uid-1", JobState.RUNNING, None),
        3: ("uid-3", JobState.RUNNING, None),
        4: ("uid-4", JobState.ENDED, 3),
        5: ("uid-5", JobState.ENDED, 137),
        6: ("uid-6", JobState.ENDED, 143),
    }
    assert [asked for asked, _, _ in server.asked].count(f"GET {VERSION}/jobs/") == 1


def test_how_often_a_job_was_queued_again_and_which_nodes_failed(rest: Any, server: FakeServer) -> None:
    jobs = [queued(1, "me", ["PENDING"]) | {"restart_cnt": 2}, queued(3, "me", ["RUNNING"])]
    server.says[f"{VERSION}/jobs/"] = (200, {"jobs": jobs})
    assert [row.status.restarts for row in rest().queue()] == [2, 0]
    states = {
        "n1": ["DOWN"],
        "n2": ["IDLE"],
        "n3": ["MIXED", "NOT_RESPONDING"],
        "n4": ["DOWN"],
        "n5": ["IDLE", "DRAIN"],
    }
    nodes = [{"name": name, "state": state} for name, state in states.items()]
    server.says[f"{VERSION}/nodes/"] = (200, {"nodes": nodes})
    assert rest().failed({"n1", "n2", "n3", "n5"}) == {"n1", "n3"}


@pytest.mark.parametrize(
    "said", ["<html>Bad gateway</html>", "", "[1, 2]", '{"jobs": 3}', '{"jobs": [{"job_id": "x"}]}', b"\xff\xfe{"]
)
def test_garbage_is_for_now_and_one_line(rest: Any, server: FakeServer, said: Any) -> None:
    server.says[f"{VERSION}/jobs/"] = (200, said)
    with pytest.raises(SiteError, match=r"no answer to .*/jobs/ but") as caught:
        rest().queue()
    assert caught.value.transient
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("said", [{}, {"message": "maintenance"}, {"jobs": None}])
def test_an_answer_without_jobs_is_no_empty_queue(rest: Any, server: FakeServer, said: Any) -> None:
    server.says[f"{VERSION}/jobs/"] = (200, said)
    with pytest.raises(SiteError, match="without the jobs") as caught:
        rest().queue()
    assert caught.value.transient


def test_a_slow_answer_is_waited_for_no_longer_than_told(rest: Any, server: FakeServer) -> None:
    server.says[f"{VERSION}/jobs/"] = (200, {"jobs": []})
    server.pause = 1.5
    with pytest.raises(SiteError, match="does not answer for 1 s") as caught:
        rest().queue()
    assert caught.value.transient


def test_a_submission_without_an_answer_may_have_arrived(rest: Any, server: FakeServer) -> None:
    server.cut = True
    asks = rest()
    first, second = asks.submit([asks.describe(job())] * 2)
    assert isinstance(first, UnsureError)
    assert type(second) is SiteError, "that one was not sent"
    assert first.transient
    assert second.transient


def test_a_server_that_is_not_there_has_taken_nothing(rest: Any) -> None:
    asks = rest(rest="http://127.0.0.1:9", rest_version="v0.0.42")
    (outcome,) = asks.submit([asks.describe(job())])
    assert type(outcome) is SiteError
    assert outcome.transient
    assert "slurmrestd at http://127.0.0.1:9 cannot be reached" in str(outcome)


@pytest.mark.parametrize(
    ("code", "error", "transient"),
    [
        (422, "Invalid partition name specified", False),
        (500, "Unable to contact slurm controller (connect failure)", True),
        (500, "Something that nobody has seen", True),
        (422, "Job violates accounting/QOS policy: QOSMaxSubmitJobPerUserLimit", True),
    ],
)
def test_refusals(rest: Any, server: FakeServer, code: int, error: str, transient: bool) -> None:
    server.says[f"{VERSION}/job/submit"] = (code, {"errors": [{"error": error, "description": "x"}]})
    asks = rest()
    (outcome,) = asks.submit([asks.describe(job())])
    assert type(outcome) is SiteError
    assert str(outcome) == f"Slurm: {error}"
    assert outcome.transient is transient


def test_a_token_that_is_not_admitted_is_read_again_when_it_was_renewed(
    rest: Any, server: FakeServer, token: Path
) -> None:
    server.says[f"{VERSION}/jobs/"] = (200, {"jobs": []})
    token.write_text("expired")
    asks = rest()
    with pytest.raises(SiteError, match=r"does not admit the token in .*/token; renew it if it has expired") as caught:
        asks.queue()
    assert caught.value.transient
    token.write_text(f"{TOKEN}2")
    assert asks.queue() == []


def test_a_token_that_only_the_controller_refuses(rest: Any, server: FakeServer) -> None:
    server.says[f"{VERSION}/jobs/"] = (500, {"jobs": [], "errors": [{"error": "Protocol authentication error"}]})
    with pytest.raises(SiteError, match=r"does not admit the token in .*\(Protocol authentication error\)") as caught:
        rest().queue()
    assert caught.value.transient


def test_a_token_that_others_can_read_is_not_used(rest: Any, server: FakeServer, token: Path) -> None:
    token.chmod(0o644)
    with pytest.raises(SiteError, match="can be read by others; chmod 600 it"):
        rest().queue()
    assert server.asked == []


def test_a_site_without_accounting(rest: Any, server: FakeServer) -> None:
    meta = {"plugin": {"accounting_storage": "accounting_storage/none"}}
    server.says["/slurmdb/v0.0.45/jobs/"] = (502, {"errors": [{"error": "Unable to connect"}], "meta": meta})
    assert rest().accounted([1]) == ([], "")
    meta["plugin"]["accounting_storage"] = "accounting_storage/slurmdbd"
    rows, trouble = rest().accounted([1])
    assert rows == []
    assert "Unable to connect" in trouble


def test_what_is_over_needs_no_end(rest: Any, server: FakeServer) -> None:
    server.says[f"{VERSION}/job/7"] = (200, {"status": [{"error": {"code": 2021, "string": "already completing"}}]})
    rest().cancel([7])
    server.says[f"{VERSION}/job/7"] = (200, {"status": [{"error": {"code": 1, "string": "Access denied"}}]})
    with pytest.raises(SiteError, match="job 7: Access denied"):
        rest().terminate([7])
    assert server.asked[-1][1] == "signal=SIGTERM&flags=BATCH_JOB"


def test_totals_of_nodes_that_are_up(rest: Any, server: FakeServer) -> None:
    node = {"cpus": 8, "real_memory": 100, "gres": "gpu:a100:2,gpu:1", "state": ["IDLE"], "partitions": ["cpu"]}
    nodes = [node, {**node, "state": ["IDLE", "DRAIN"]}, {**node, "partitions": ["other"]}]
    server.says[f"{VERSION}/nodes/"] = (200, {"nodes": nodes})
    told = rest(partition="cpu,fast").capacity(9)
    assert (told.cpus, told.memory, told.gpus, told.jobs) == (8, 100 * 2**20, 3, 9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rest": "http://slurm.example:6820", "token_file": "/t"}, r"batch\.options\.rest"),
        ({"rest": "slurm.example", "token_file": "/t"}, r"batch\.options\.rest"),
        ({"rest": "https://slurm.example"}, r"batch\.options\.token_file: missing"),
        ({"rest": "https://slurm.example", "token_file": "/t", "rest_version": "42"}, r"batch\.options\.rest_version"),
        ({"rest": "https://a", "token_file": "/t", "ca_file": "/nowhere"}, r"ca_file: /nowhere: No such file"),
        ({"rest": "unix:/s", "arguments": ["--nice=5"]}, "--nice: slurmrestd takes of sbatch's options only account"),
        ({"rest": "unix:/s", "flavours": [{"name": "x", "arguments": ["--nice"]}]}, "--nice: slurmrestd takes"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SiteError, match=words):
        Rest(read(options))
