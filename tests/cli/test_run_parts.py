"""The parts of ``flashlink run``: progress, processes, sockets, the workflow's configuration."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flashlink.cli.run.choice import embed
from flashlink.cli.run.embedded import RemoteSite, remove_socket, socket_path
from flashlink.cli.run.failure import explained
from flashlink.cli.run.interruption import Interruption
from flashlink.cli.run.processes import end, last_lines, start
from flashlink.cli.run.progress import Display, LedgerReader, Progress
from flashlink.cli.run.workflow import check_sites, configuration
from flashlink.errors import FlashlinkError, RequestError, SiteError
from flashlink.site.config import Batch, Containers, Site
from snakemake_executor_plugin_interlink.ledger import Entry, Ledger, Plan


def entry(rule: str, pod: str, state: str) -> Entry:
    return Entry(0.0, rule, {}, pod, "local", state)


PLAN = Plan(0.0, {"generate": 2, "simulate": 1})


def test_pods_are_counted_by_their_last_state() -> None:
    progress = Progress()
    progress.take([PLAN, entry("generate", "a", "waiting"), entry("generate", "a", "running")])
    progress.take([entry("generate", "b", "waiting")])
    assert progress.line() == "0/3 pods done; generate 0/2 done, 1 running, 1 waiting"
    progress.take([entry("generate", "a", "done"), entry("generate", "b", "done")])
    assert progress.line() == "2/3 pods done"
    assert progress.steps["generate"].complete


def test_failures_are_kept_in_order() -> None:
    progress = Progress()
    progress.take([PLAN, entry("generate", "b", "failed"), entry("generate", "a", "failed")])
    assert [failure.pod for failure in progress.failures] == ["b", "a"]


def test_a_ledger_is_read_on_from_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    reader = LedgerReader(path)
    assert list(reader.news()) == []
    Ledger(path).note(entry("generate", "a", "waiting"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:10])
    assert [line.pod for line in reader.news() if isinstance(line, Entry)] == ["a"]
    path.write_bytes(whole + whole)
    assert len(list(reader.news())) == 1
    assert list(reader.news()) == []


def test_without_a_terminal_progress_is_a_line_now_and_then() -> None:
    progress, out = Progress(), io.StringIO()
    with Display(Console(file=out, width=40), progress) as display:
        display.update(news=progress.take([PLAN, entry("generate", "a", "running")]))
        for _ in range(5):
            display.update(news=True)
        display.update(news=False, last=True)
    first, last = out.getvalue().splitlines()
    assert "generate 0/2 done, 1 running, 0 waiting" in first
    assert last == first


def test_on_a_terminal_progress_is_a_table() -> None:
    progress, out = Progress(), io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=100), progress) as display:
        display.update(news=progress.take([PLAN, entry("generate", "a", "running")]))
    assert "generate" in out.getvalue()
    assert "waiting" in out.getvalue()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    program = f"""
import signal, sys
from pathlib import Path
from flashlink.cli.run.processes import start
child = start(["sleep", "60"], Path({str(tmp_path / "log")!r}), at_death=signal.SIGKILL)
print(child.pid, flush=True)
signal.pause()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while (status := Path(f"/proc/{child}/status")).exists() and "\nState:\tZ" not in status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_can_be_interrupted_though_the_parent_ignores_it(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = start(["sleep", "60"], tmp_path / "log", at_death=signal.SIGKILL)
    finally:
        signal.signal(signal.SIGINT, before)
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == -signal.SIGINT


def test_a_process_that_will_not_end_is_killed(tmp_path: Path) -> None:
    child = start(["sh", "-c", "trap '' TERM; echo up; sleep 60"], tmp_path / "log", at_death=signal.SIGKILL)
    while not last_lines(tmp_path / "log", 1):
        time.sleep(0.02)
    end(child, grace=0.1)
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path, 3) == []
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert last_lines(path, 2) == ["line 99998", "line 99999"]


def test_interruptions_are_counted_and_nothing_else_happens() -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert interruption.count == 2
    assert interruption.exit_status == 143


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files with a short name, unlike `tmp_path` in a worker of pytest-xdist."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def test_a_long_path_gives_a_short_private_socket(temporary: Path) -> None:
    short, long = temporary / "a", temporary / ("x" * 120)
    assert socket_path(short) == short / "plugin.sock"
    socket = socket_path(long)
    assert socket == socket_path(long)
    assert len(str(socket)) < 108
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    socket.parent.chmod(0o755)
    with pytest.raises(FlashlinkError, match="is open to others"):
        socket_path(long)


def test_a_long_name_of_the_folder_of_temporary_files_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 120)))
    socket = socket_path(tmp_path / ("x" * 120))
    assert len(str(socket)) < 108
    remove_socket(socket, tmp_path)
    assert not socket.parent.exists()


@pytest.mark.parametrize("name", ["a", "x" * 120])
def test_an_embedded_site_leaves_neither_socket_nor_its_folder(temporary: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir(mode=0o700)
    site = embed(Site(containers=Containers(runtime="host")), folder, lambda _: None)
    socket = Path(site.endpoint.removeprefix("unix:"))
    assert socket.is_socket()
    site.close()
    assert not socket.exists()
    assert folder.exists()
    assert list(temporary.iterdir()) == []


def test_an_embedded_site_that_does_not_start_leaves_no_folder_of_a_socket(temporary: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir(mode=0o700)
    with pytest.raises(SiteError, match="the embedded plugin does not start"):
        embed(Site(batch=Batch(system="none"), containers=Containers(runtime="host")), folder, lambda _: None)
    assert list(temporary.iterdir()) == []


def test_a_plugin_that_does_not_answer_is_told_at_once() -> None:
    with pytest.raises(SiteError, match="no interLink plugin answers"):
        RemoteSite("http://127.0.0.1:9", "")


def test_options_stand_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("{events: 70, chunk: 10}")
    chosen = configuration(file, {"events": 90})
    assert (chosen["events"], chosen["chunk"], chosen["reference_fraction"]) == (90, 10, 0.5)


@pytest.mark.parametrize(
    ("content", "options", "line"),
    [
        ("chunk: 0", {}, "my.yaml: chunk: 0 is less than the minimum of 1"),
        ("evnts: 3", {}, "my.yaml: evnts: no such key; did you mean 'events'?"),
        ("sites: {smulate: x}", {}, "my.yaml: sites: 'smulate' is not one of ["),
        ("[]", {}, "my.yaml: [] is not a table of keys; see workflow/config.yaml"),
        ("a: [", {}, "my.yaml: cannot be read as YAML: "),
        ("{}", {"seed": 2**40}, "--seed: 1099511627776 is greater than the maximum of 4294967295"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, options: dict[str, int], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(content)
    with pytest.raises(RequestError) as caught:
        configuration(Path("my.yaml"), options)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_step_at_a_site_that_the_run_does_not_have() -> None:
    check_sites({"sites": {"generate": "local"}}, "local")
    with pytest.raises(RequestError, match="sites: simulate: 'mars' is not the site of this run, which is 'local'; "):
        check_sites({"sites": {"generate": "local", "simulate": "mars"}}, "local")


POD_LOG = """Building DAG of jobs...
Execute 1 jobs...
{words}RuleException:
CalledProcessError in file "results.smk", line 71:
Command 'flashlink report' returned non-zero exit status 1.
Shutting down, this might take some time.
"""

#: What is left of that when the step said nothing.
COMMAND = "".join(f"  {line}\n" for line in POD_LOG.splitlines()[2:-1]).replace("{words}", "")


@pytest.mark.parametrize(
    ("words", "why", "shown"),
    [
        ("flashlink: a.parquet: not whole; remove it\n", "a.parquet: not whole; remove it", ""),
        ("some\nKilled\n", "exit code 1", "Last lines of pod report-1:\n  some\n  Killed\n" + COMMAND),
        ("", "exit code 1", "Last lines of pod report-1:\n" + COMMAND),
    ],
)
def test_a_failed_step_is_told_in_its_own_words(tmp_path: Path, words: str, why: str, shown: str) -> None:
    log = tmp_path / "pod.log"
    log.write_text(POD_LOG.format(words=words))
    failed = Entry(0.0, "report", {"chunk": "0001"}, "report-1", "local", "failed", "exit code 1", str(log))
    out = io.StringIO()
    error = explained([failed], tmp_path / "snakemake.log", "grant it", Console(file=out, width=80))
    assert str(error) == f"step report (chunk=0001) failed at site local: {why}; its log: {log}"
    assert out.getvalue() == shown


def test_a_pod_that_was_refused_is_told_with_advice(tmp_path: Path) -> None:
    failed = Entry(0.0, "report", {}, "report-1", "far", "failed", "hostPath /x is not granted")
    error = explained([failed], tmp_path / "log", "grant it", Console(file=io.StringIO()))
    line = "step report failed at site far: hostPath /x is not granted; grant it; more in "
    assert str(error).startswith(line)


def test_a_workflow_that_fails_before_any_pod_shows_what_snakemake_said(tmp_path: Path) -> None:
    log, out = tmp_path / "log", io.StringIO()
    log.write_text("WorkflowError:\nno such rule\n")
    error = explained([], log, "", Console(file=out))
    assert str(error).startswith("the workflow failed before any pod did")
    assert "no such rule" in out.getvalue()
