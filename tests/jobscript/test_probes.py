"""Probes of host processes."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flashlink.jobscript import journal
from flashlink.pods.pod import Container, EmptyDir, Mount
from flashlink.pods.probes import Exec, Handler, HttpGet, Life, Probe, TcpSocket
from jobscript.hostpods import order, shell

Start = Callable[..., Any]

AT_ONCE = {"FLASHLINK_BACKOFF": "0"}
RUN = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


def probe(handler: Handler, **more: Any) -> Probe:
    return Probe(handler, **{"period": 1, "timeout": 3, "failures": 1, **more})


def probed(**life: Any) -> Container:
    return shell("main", RUN, life=Life(**life))


def sh(script: str) -> Exec:
    return Exec(("sh", "-c", script))


def readiness(job: Any) -> list[bool]:
    """Each change of readiness, from the start on."""
    return [event.ready for event in job.events if isinstance(event, journal.Started | journal.Ready)]


class Server(ThreadingHTTPServer):
    """Answers each path with a status and a place to go on, as `answers` say; remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.answers: dict[str, tuple[int, str]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.port = self.server_address[1]

    def handle_error(self, *_: Any) -> None:
        """The other side may have gone."""


class Page(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        status, location = self.server.answers.get(self.path, (200, ""))
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


def test_a_container_without_probes_is_ready_at_once(start: Start) -> None:
    job = start(shell("main", "true"))
    job.wait()
    assert readiness(job) == [True]


def test_readiness_comes_and_goes(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    job = start(probed(readiness=probe(sh(f"test -e {flag}"))))
    job.wait_for(lambda: readiness(job) == [False])
    flag.touch()
    job.wait_for(lambda: readiness(job) == [False, True])
    flag.unlink()
    job.wait_for(lambda: readiness(job) == [False, True, False])
    job.terminate()
    assert job.wait() == 0
    assert order(job.events) == ["started main", "ended main"]  # readiness ends nothing


def test_results_count_when_there_are_enough_in_a_row(start: Start, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"echo x >>{count}; n=$(wc -l <{count}); [ $n != 2 ]"  # well, ill, well, well
    job = start(probed(readiness=probe(sh(script), successes=2)))
    job.wait_for(lambda: readiness(job) == [False, True])
    assert len(count.read_text().splitlines()) == 4
    job.terminate()
    job.wait()


def test_a_liveness_probe_that_fails_restarts_the_container(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "well"
    flag.touch()
    live = probe(sh(f"test -e {flag} || {{ echo 'it is  ill' >&2; exit 4; }}"), failures=2)
    job = start(probed(liveness=live), restart_policy="OnFailure", environment=AT_ONCE)
    job.wait_for(lambda: "started main" in order(job.events))
    flag.unlink()
    job.wait_for(lambda: bool(job.ended("main")))
    flag.touch()
    job.wait_for(lambda: order(job.events)[:3] == ["started main", "ended main", "started main"])
    assert [(event.exit, event.cause, event.again) for event in job.ended("main")] == [(0, "probe", True)]
    assert job.reason("main") == "its liveness probe failed 2 times in a row: exit code 4: it is  ill\n"
    job.terminate()
    job.wait()
    assert not job.processes()


def test_a_container_that_is_not_to_start_again_ends_by_its_probe(start: Start) -> None:
    job = start(probed(liveness=probe(sh("exit 1"))))
    assert job.wait() == 0  # as it took its signal so
    assert [(event.cause, event.again) for event in job.ended("main")] == [("probe", False)]
    assert job.reason("main") == "its liveness probe failed: exit code 1\n"


def test_the_grace_of_the_probe_stands_over_the_pods(start: Start) -> None:
    deaf = shell("main", "trap '' TERM; while :; do sleep 0.05; done", life=Life(liveness=probe(sh("exit 1"), grace=1)))
    job = start(deaf, grace=600)
    assert job.wait() == 137
    assert [event.cause for event in job.ended("main")] == ["probe"]


def test_the_other_probes_wait_for_the_startup_probe(start: Start, tmp_path: Path) -> None:
    flag, asked = tmp_path / "up", tmp_path / "asked"
    job = start(
        probed(
            startup=probe(sh(f"test -e {flag}"), failures=100),
            liveness=probe(sh(f"echo live >>{asked}")),
            readiness=probe(sh(f"echo ready >>{asked}")),
        )
    )
    job.wait_for(lambda: (job.folder / "tmp" / "main.said").exists())
    assert not asked.exists()
    assert readiness(job) == [False]
    flag.touch()
    job.wait_for(lambda: readiness(job) == [False, True] and "live" in asked.read_text())
    job.terminate()
    job.wait()


def test_a_startup_probe_that_fails_ends_the_container(start: Start) -> None:
    job = start(probed(startup=probe(sh("exit 1"), failures=2)))
    job.wait()
    assert job.reason("main") == "its startup probe failed 2 times in a row: exit code 1\n"
    assert readiness(job) == [False]


def test_no_answer_in_time_is_a_failure_and_leaves_no_process(start: Start) -> None:
    job = start(probed(liveness=probe(sh("sleep 60 & sleep 61"), timeout=1)))
    job.wait()
    assert job.reason("main") == "its liveness probe failed: no answer within 1 s\n"
    assert not job.processes()
    assert job.complaints == ""


def test_a_probe_has_the_environment_and_the_place_of_its_container(start: Start, tmp_path: Path) -> None:
    life = Life(readiness=probe(sh('echo "$A|$PWD|$0" >seen; env >env')))
    work = tmp_path / "work"
    work.mkdir()
    env = {"A": "x 'y'\n", "RANDOM": "1", "HOME": "/mine"}
    job = start(shell("main", "env >part; mv part main; sleep 60", env=env, life=life, working_dir=str(work)))
    job.wait_for(lambda: readiness(job) == [False, True] and (work / "main").exists())
    assert (work / "seen").read_text() == f"x 'y'\n|{work}|sh\n"
    assert sorted((work / "env").read_text().splitlines()) == sorted((work / "main").read_text().splitlines())
    job.terminate()
    job.wait()


def test_a_probe_sees_the_volumes_of_its_container(start: Start) -> None:
    life = Life(readiness=probe(sh("grep -q hello /mnt/shared/word")))
    script = "echo hello >/mnt/shared/word; sleep 60"
    main = shell("main", script, life=life, mounts=(Mount("v", "/mnt/shared"),))
    job = start(main, volumes={"v": EmptyDir("v")})
    job.wait_for(lambda: readiness(job) == [False, True])
    job.terminate()
    job.wait()
    assert job.complaints == ""


def test_a_command_that_is_not_there_fails(start: Start) -> None:
    job = start(probed(liveness=probe(Exec(("no-such-program",)))))
    job.wait()
    assert job.reason("main") == "its liveness probe failed: there is no program 'no-such-program' on this machine\n"


def test_requests(start: Start, server: Server) -> None:
    headers = (("X-Mine", 'a "b" \\ c'), ("Host", "other.org"))
    job = start(probed(readiness=probe(HttpGet(server.port, "/up?x=1", headers=headers))))
    job.wait_for(lambda: readiness(job) == [False, True])
    path, seen = server.seen[0]
    assert (path, seen["X-Mine"], seen["Host"]) == ("/up?x=1", 'a "b" \\ c', "other.org")
    assert seen["User-Agent"].startswith("kube-probe/")
    job.terminate()
    job.wait()


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"/": (404, "")}, "HTTP status 404"),
        ({"/": (302, "/a"), "/a": (301, "b?c=d"), "/b?c=d": (500, "")}, "HTTP status 500"),
        ({"/": (302, "http://127.0.0.1:{port}/a"), "/a": (503, "")}, "HTTP status 503"),
        ({"/": (302, "/")}, "stopped after 10 redirects"),
    ],
)
def test_requests_that_fail(start: Start, server: Server, answers: dict[str, tuple[int, str]], why: str) -> None:
    server.answers = {path: (status, to.format(port=server.port)) for path, (status, to) in answers.items()}
    job = start(probed(liveness=probe(HttpGet(server.port))))
    job.wait()
    assert job.reason("main") == f"its liveness probe failed: {why}\n"


@pytest.mark.parametrize("to", ["http://elsewhere.example/", "//elsewhere.example/", ""])
def test_a_redirect_to_another_host_is_well(start: Start, server: Server, to: str) -> None:
    server.answers["/"] = (302, to)
    job = start(probed(readiness=probe(HttpGet(server.port))))
    job.wait_for(lambda: readiness(job) == [False, True])
    job.terminate()
    job.wait()


@pytest.fixture
def secure(server: Server, tmp_path: Path) -> Server:
    """The same, over TLS with a certificate that nobody has signed."""
    names = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"), "-subj", "/CN=nobody"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_requests_by_https_look_at_no_certificate(start: Start, secure: Server) -> None:
    headers = (("Authorization", 'Bearer "x\\y"'),)
    job = start(probed(readiness=probe(HttpGet(secure.port, "/a?b=[c]", scheme="https", headers=headers))))
    job.wait_for(lambda: readiness(job) == [False, True])
    assert secure.seen[0][0] == "/a?b=[c]"
    assert secure.seen[0][1]["Authorization"] == 'Bearer "x\\y"'
    job.terminate()
    job.wait()


def test_requests_by_https_that_fail(start: Start, secure: Server) -> None:
    secure.answers["/"] = (302, "/next")
    secure.answers["/next"] = (404, "")
    job = start(probed(liveness=probe(HttpGet(secure.port, scheme="https"))))
    job.wait()
    assert job.reason("main") == "its liveness probe failed: HTTP status 404\n"


@pytest.mark.parametrize("listens", [True, False])
def test_connections(start: Start, listens: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not listens:
            listening.close()
        job = start(probed(readiness=probe(TcpSocket(port)), liveness=probe(TcpSocket(port))))
        if listens:
            job.wait_for(lambda: readiness(job) == [False, True])
            job.terminate()
        job.wait()
    if not listens:
        assert job.reason("main") == f"its liveness probe failed: cannot connect to 127.0.0.1 port {port}\n"


def test_what_listens_and_says_nothing(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        job = start(probed(liveness=probe(HttpGet(port), timeout=1)))
        job.wait()
    assert job.reason("main") == "its liveness probe failed: no answer within 1 s\n"


def test_the_first_time_comes_after_the_delay(start: Start) -> None:
    job = start(probed(readiness=probe(sh("exit 0"), delay=2)))
    job.wait_for(lambda: readiness(job) == [False, True])
    begun, ready = (event.time for event in job.events if isinstance(event, journal.Started | journal.Ready))
    assert ready - begun > 1  # whole seconds of bash
    job.terminate()
    job.wait()


def test_a_sidecar_has_started_when_its_startup_probe_says_so(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "up"
    life = Life(startup=probe(sh(f"test -e {flag}"), failures=100))
    job = start(shell("main", "true"), init=(shell("proxy", RUN, restart="Always", sidecar=True, life=life),))
    job.wait_for(lambda: (job.folder / "tmp" / "proxy.said").exists())
    assert order(job.events) == ["started proxy"]
    flag.touch()
    assert job.wait() == 0
    assert order(job.events) == ["started proxy", "started main", "ended main", "ended proxy"]


def test_a_container_that_ends_by_itself_ends_its_probes(start: Start) -> None:
    job = start(shell("main", "sleep 0.5; exit 3", life=Life(liveness=probe(sh("sleep 60"), timeout=90))))
    assert job.wait() == 3
    assert not job.processes()
    assert [event.cause for event in job.ended("main")] == ["exited"]
    assert job.complaints == ""


def test_a_killed_script_leaves_no_prober(start: Start) -> None:
    job = start(probed(liveness=probe(sh("sleep 60"), timeout=90)))
    job.wait_for(lambda: (job.folder / "tmp" / "main.said").exists())
    job.process.kill()
    job.wait()
    job.wait_for(lambda: not job.processes(), 5)
    job.wait_for(lambda: not (job.folder / "tmp").exists(), 5)
