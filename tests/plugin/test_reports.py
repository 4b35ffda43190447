"""Jobs that share no folder with the plugin: real scripts report over real HTTPS, through cuts and restarts."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.errors import RequestError, SiteError
from flashlink.jobscript.plan import Report
from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.plugin.books import Books
from flashlink.plugin.listener import Listener, application
from flashlink.plugin.mirror import Mirror, Piece, outdated, pieces
from flashlink.plugin.pods import Pods
from flashlink.plugin.record import Record
from flashlink.plugin.reports import Reports
from flashlink.pods.pod import Container, Pod
from flashlink.pods.status import Outline
from flashlink.site.config import Containers, Limits, Site
from flashlink.site.config import Reports as Settings

HOST = Site(containers=Containers(runtime="host"))
BOUNDED = Site(containers=Containers(runtime="host"), limits=Limits(log_size="64Ki"))


def certify(folder: Path) -> Settings:
    """A certificate for 127.0.0.1 and a free port."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subject = ("-subj", "/CN=plugin", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", *kind, *subject, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    return Settings(address, f"https://{address}", str(certificate), str(key), str(certificate), seconds=1)


@dataclass
class Plugin:
    """The part of a plugin that takes reports, with one pod; `stop` and `start` are its restarts."""

    state: Path
    settings: Settings
    uid: str = "5f2c-11"
    running: Listener | None = None
    books: Books | None = None
    pods: Pods = field(init=False)
    reports: Reports = field(init=False)

    def start(self) -> None:
        self.books = Books(self.state)
        work = self.state / "work"
        work.mkdir(exist_ok=True)
        record = Record(Outline(self.uid, "pod", "default", (), ("main", "other")), time.time())
        self.books.put([record])
        self.pods = Pods(self.books, HOST, work, "fake")
        self.reports = Reports(self.settings, self.state)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.reports.mirror(self.folder).prepare()
        self.running = Listener(application(self.reports, self.pods), self.settings).__enter__()

    def stop(self) -> None:
        if self.running is not None and self.books is not None:
            self.running.__exit__(None, None, None)
            self.books.close()
            self.running = None

    @property
    def folder(self) -> Path:
        return self.pods.folder(self.uid)

    def post(self, body: bytes, *, run: str = "5", token: str = "", uid: str = "") -> httpx.Response:
        report = self.reports.of(uid or self.uid)
        headers = {"Authorization": f"Bearer {token or report.token}", "Flashlink-Run": run}
        with httpx.Client(verify=ssl.create_default_context(cafile=self.settings.authority)) as client:
            return client.post(report.url, content=body, headers=headers)


@dataclass
class Worker:
    """Runs the pod's job in a folder of its own, which the plugin never looks at."""

    folder: Path
    process: subprocess.Popen[bytes]

    def files(self) -> dict[str, bytes]:
        return reported_files(self.folder)


def reported_files(folder: Path) -> dict[str, bytes]:
    """Journal and logs."""
    found = [folder / "journal", *sorted((folder / "logs").glob("*"))]
    return {path.name: path.read_bytes() for path in found if path.exists()}


Run = Callable[..., Worker]


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    made = Plugin(tmp_path / "state", certify(tmp_path))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def run(plugin: Plugin, tmp_path: Path) -> Iterator[Run]:
    workers: list[Worker] = []

    def launch(*scripts: str, report: Report | None = None, shared: bool = False, site: Site = HOST) -> Worker:
        names = ("main", "other")[: len(scripts)]
        containers = tuple(
            Container(name, "any", ("sh", "-c", text)) for name, text in zip(names, scripts, strict=True)
        )
        folder = tmp_path / f"worker-{len(workers)}" / plugin.uid
        folder.mkdir(mode=0o700, parents=True)
        if shared:
            plugin.reports.mirror(folder).prepare()
        pod = Pod(plugin.uid, "pod", "default", containers, restart_policy="Never", grace=5)
        script = folder / "job.sh"
        script.write_text(render(plan(pod, site, PurePosixPath(folder), report or plugin.reports.of(plugin.uid))))
        with (folder / "job.log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        workers.append(Worker(folder, process))
        return workers[-1]

    yield launch
    for worker in workers:
        if worker.process.poll() is None:
            os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.05)


def mirrored(plugin: Plugin, name: str) -> bytes:
    return reported_files(plugin.folder).get(name, b"")


def test_output_arrives_while_the_container_runs(plugin: Plugin, run: Run) -> None:
    worker = run("echo first; sleep 300")
    wait_for(lambda: mirrored(plugin, "main.0.log") == b"first\n")
    assert b"\tstarted\tmain\t" in mirrored(plugin, "journal")
    worker.process.terminate()
    worker.process.wait(20)


def test_at_the_end_both_sides_hold_the_same(plugin: Plugin, run: Run) -> None:
    worker = run("head -c 3000000 /dev/urandom; exit 3", "echo other >&2")
    assert worker.process.wait(30) == 3
    assert reported_files(plugin.folder) == worker.files()
    assert len(mirrored(plugin, "main.0.log")) == 3_000_000
    assert b"\tjob-ended\t-\texit=3\tpid=" in mirrored(plugin, "journal")
    assert sorted(path.name for path in worker.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]
    assert (worker.folder / "job.log").read_text() == ""


def test_of_a_bounded_log_the_plugin_keeps_what_the_job_keeps(plugin: Plugin, run: Run) -> None:
    worker = run("i=0; while [ $i -lt 20000 ]; do printf 'line %07d\\n' $i; i=$((i + 1)); done", site=BOUNDED)
    assert worker.process.wait(90) == 0
    kept = worker.files()
    assert sum(name.startswith("main.0.log.") for name in kept) == 2
    assert reported_files(plugin.folder) == kept


def test_a_plugin_that_was_away_is_told_what_it_missed(plugin: Plugin, run: Run) -> None:
    worker = run("i=0; while [ $i -lt 80 ]; do echo line $i; i=$((i+1)); sleep 0.1; done")
    wait_for(lambda: b"line 2\n" in mirrored(plugin, "main.0.log"))
    plugin.stop()
    wait_for(lambda: b"line 25\n" in worker.files()["main.0.log"])
    plugin.start()
    assert worker.process.wait(60) == 0
    assert reported_files(plugin.folder) == worker.files()


def test_a_job_that_begins_anew_goes_on_in_the_same_files(plugin: Plugin, run: Run) -> None:
    first = run("echo first run; sleep 300")
    wait_for(lambda: b"first run\n" in mirrored(plugin, "main.0.log"))
    os.killpg(first.process.pid, signal.SIGKILL)  # a node that dies; what the watcher cleans up is not told
    before = reported_files(plugin.folder)
    second = run("echo second run")
    assert second.process.wait(30) == 0
    after = reported_files(plugin.folder)
    assert after["main.0.log"] == b"first run\nsecond run\n"
    assert after["journal"] == before["journal"] + second.files()["journal"]


def test_a_job_with_a_wrong_token_runs_all_the_same(plugin: Plugin, run: Run) -> None:
    right = plugin.reports.of(plugin.uid)
    worker = run("echo hello", report=Report(right.url, "0" * 64, 1, right.authority))
    assert worker.process.wait(30) == 0
    assert reported_files(plugin.folder) == {}
    assert "takes no more reports" in (worker.folder / "job.log").read_text()


def test_a_job_does_not_report_to_who_cannot_prove_who_he_is(plugin: Plugin, run: Run) -> None:
    right = plugin.reports.of(plugin.uid)
    worker = run("echo hello", report=Report(right.url, right.token, 1))  # trusts only what the worker trusts
    assert worker.process.wait(60) == 0
    assert reported_files(plugin.folder) == {}


def test_a_shared_folder_is_not_reported(plugin: Plugin, run: Run) -> None:
    worker = run("echo hello", shared=True)
    assert worker.process.wait(30) == 0
    assert reported_files(plugin.folder) == {}


def test_the_token_is_on_no_command_line(plugin: Plugin, run: Run) -> None:
    worker = run("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.3; done")
    token = plugin.reports.of(plugin.uid).token.encode()
    looks = 0
    while worker.process.poll() is None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert token not in entry.read_bytes()
            except OSError:
                continue
        looks += 1
    assert looks > 3


@pytest.mark.parametrize("token", ["x", "0" * 64])
def test_without_the_token_of_the_pod_nothing_is_taken(plugin: Plugin, token: str) -> None:
    answer = plugin.post(b"journal 0 2\nab", token=token)
    assert answer.status_code == 401
    other = plugin.reports.of("another-uid").token
    assert plugin.post(b"journal 0 2\nab", token=other).status_code == 401
    assert reported_files(plugin.folder) == {}


def test_a_pod_that_is_not_known_or_has_ended_takes_nothing(plugin: Plugin) -> None:
    assert plugin.post(b"", uid="unknown").status_code == 410
    plugin.pods.change({plugin.uid: {"final": True}})
    assert plugin.post(b"journal 0 2\nab").status_code == 410


@pytest.mark.parametrize(
    "body",
    [
        b"../../etc/passwd 0 1\nx",
        b"logs/../journal 0 1\nx",
        b"logs/stranger.0.log 0 1\nx",
        b"job.sh 0 1\nx",
        b"reports.json 0 1\nx",
        b"journal -1 1\nx",
        b"journal 0 5\nx",
        b"nonsense",
        b"journal 0 1",
        b"\0" * 500,
    ],
)
def test_what_is_no_report_is_refused(plugin: Plugin, body: bytes) -> None:
    answer = plugin.post(body)
    assert answer.status_code == 400
    assert answer.text.startswith("report: ")
    assert answer.text.count("\n") == 1
    assert reported_files(plugin.folder) == {}


def test_a_report_that_is_too_large_is_refused(plugin: Plugin) -> None:
    assert plugin.post(b"journal 0 3000000\n" + b"x" * 3_000_000).status_code == 413


@pytest.mark.parametrize("run", ["", "x", "1e9", "nan", "-1"])
def test_a_run_is_a_time(plugin: Plugin, run: str) -> None:
    assert plugin.post(b"", run=run).status_code == 400


def test_a_link_in_the_place_of_a_log_is_not_followed(plugin: Plugin, tmp_path: Path) -> None:
    (plugin.folder / "logs").mkdir()
    (plugin.folder / "logs" / "main.0.log").symlink_to(tmp_path / "elsewhere")
    assert plugin.post(b"logs/main.0.log 0 1\nx").status_code == 503
    assert not (tmp_path / "elsewhere").exists()


def test_the_secret_is_private_and_stays(plugin: Plugin) -> None:
    token = plugin.reports.of("some-uid").token
    assert (plugin.state / "reports.secret").stat().st_mode & 0o777 == 0o600
    assert Reports(plugin.settings, plugin.state).of("some-uid").token == token
    assert Reports(plugin.settings, plugin.state).of("other-uid").token != token


def test_a_certificate_that_is_not_there_is_told(plugin: Plugin, tmp_path: Path) -> None:
    settings = Settings("127.0.0.1:0", "https://x", str(tmp_path / "no.crt"), str(tmp_path / "no.key"))
    with pytest.raises(SiteError, match=r"no\.crt: No such file"):
        Listener(application(plugin.reports, plugin.pods), settings)


contents = st.binary(max_size=40)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["journal", "logs/main.0.log", "logs/main.0.log.17", "logs/other.12.times"]), contents
        )
    )
)
def test_pieces_are_read_as_they_were_written(wanted: list[tuple[str, bytes]]) -> None:
    body = b"".join(f"{name} 7 {len(content)}\n".encode() + content for name, content in wanted)
    assert [(piece.name, piece.content) for piece in pieces(body, ["main", "other"])] == wanted


@given(st.binary())
def test_bytes_that_are_no_report_are_refused(body: bytes) -> None:
    with suppress(RequestError):
        read = pieces(body, ["main"])
        assert body == b"".join(f"{one.name} {one.offset} {len(one.content)}\n".encode() + one.content for one in read)


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20)


@given(spans)
def test_whatever_is_lost_or_sent_twice_the_file_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int]]
) -> None:
    content = bytes(range(60))
    mirror = Mirror(folder := tmp_path_factory.mktemp("pod"), 10**9)
    mirror.prepare()
    told = 0
    for start, length in sent:
        told = mirror.add(1.5, [Piece("journal", start, content[start : start + length])]).get("journal", 0)
        assert told == 0 or (folder / "journal").read_bytes() == content[:told]
    assert mirror.add(1.5, [Piece("journal", told, content[told:])]) == {"journal": 60}
    assert (folder / "journal").read_bytes() == content


def test_an_older_run_of_the_job_is_turned_away(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path, 10**9)
    mirror.prepare()
    mirror.add(2.0, [Piece("journal", 0, b"two")])
    with pytest.raises(RequestError, match="given up"):
        mirror.add(1.0, [Piece("journal", 0, b"one")])
    assert mirror.add(3.0, [Piece("journal", 0, b"three")]) == {"journal": 5}
    assert (tmp_path / "journal").read_bytes() == b"twothree"


def test_a_file_that_is_too_large_is_taken_and_thrown_away(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path, 10)
    mirror.prepare()
    assert mirror.add(1.0, [Piece("logs/main.0.log", 0, b"x" * 12)]) == {"logs/main.0.log": 12}
    assert mirror.add(1.0, [Piece("logs/main.0.log", 12, b"y" * 5)]) == {"logs/main.0.log": 17}
    assert (tmp_path / "logs" / "main.0.log").read_bytes() == b"x" * 12


def test_what_a_job_keeps_no_longer_is_outdated() -> None:
    gone = ["logs/main.0.log", "logs/main.0.times", "logs/main.0.reason", "logs/main.0.log.5", "logs/main.2.log.9"]
    kept = ["journal", "logs/main.1.log", "logs/main.2.log", "logs/main.2.log.80", "logs/main.2.log.700"]
    others = ["logs/other.0.log", "logs/main.2.times", "logs/main.1.log.5", "logs/main.1.log.6"]
    assert sorted(outdated([*gone, *kept, *others])) == sorted(gone)
