"""The main job as a user runs it: to its end, twice, killed, interrupted. Real in every part, only small."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: Small, but in chunks, and with all steps.
CONFIGURATION = "{events: 80, chunk: 40, parameterizations: tables, training_events: 80, seed: 7}"

#: Ends of the files that two runs of the same production must have in common, bit for bit.
SAMPLES = ("*.parquet", "tables.json")


class Run:
    """A ``flashlink run`` with its output in a file."""

    def __init__(self, output: Path, *options: str) -> None:
        self.output = output
        self.log = output.parent / f"{output.name}.log"
        config = output.parent / "config.yaml"
        config.write_text(CONFIGURATION)
        command = [sys.executable, "-m", "flashlink", "run", "--config", str(config), "--cores", "2", *options]
        self.temporary = output.parent / f"{output.name}.tmp"
        self.temporary.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--output", str(output)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )

    def finish(self, seconds: float = 280) -> int:
        return self.process.wait(seconds)

    def said(self) -> str:
        return self.log.read_text()

    def states(self) -> list[tuple[str, str]]:
        """(step, state) of all that the ledger has noted so far."""
        ledger = self.output / ".flashlink" / "ledger.jsonl"
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [(entry["rule"], entry["state"]) for entry in entries if entry["type"] == "pod"]

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{what}: not in time\n{self.said()}"
            time.sleep(0.1)

    def running(self, step: str) -> None:
        self.until(lambda: (step, "running") in self.states(), f"{step} runs")


def processes(output: Path) -> dict[int, str]:
    """Processes that have to do with a run: its plugin, its Snakemake, its pods."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if os.fsencode(output) in words or os.fsencode(output) in (folder / "environ").read_bytes():
                found[int(folder.name)] = words.replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def digests(output: Path) -> dict[str, str]:
    files = sorted(path for pattern in SAMPLES for path in output.rglob(pattern) if ".snakemake" not in path.parts)
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs; whatever is left of them at the end is killed."""
    runs: list[Run] = []

    def begin(name: str, *options: str) -> Run:
        runs.append(Run(tmp_path / name, *options))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()
        for pid in processes(run.output):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run, from nothing to the report."""
    run = Run(tmp_path_factory.mktemp("whole") / "results")
    assert run.finish() == 0, run.said()
    return run


def test_it_ends_with_a_report_and_its_samples(whole: Run) -> None:
    names = {path.name for path in whole.output.iterdir()}
    assert {"report.html", "summary.json", "tables.json"} <= names
    assert {f"{detector}.{kind}" for detector in ("flash", "reference") for kind in ("parquet", "root")} <= names
    assert f"Report: {whole.output / 'report.html'}" in whole.said()
    labels = [entry["label"] for entry in json.loads((whole.output / "summary.json").read_text())["headline"]]
    assert labels
    assert all(label in whole.said() for label in labels)


def test_every_step_was_a_pod_of_the_site(whole: Run) -> None:
    records = [json.loads(path.read_text()) for path in (whole.output / "records").rglob("*.json")]
    assert {record["site"] for record in records} == {"local"}
    pods = [record["pod"] for record in records]
    assert all(pods)
    assert len(set(pods)) == len(pods)


def test_nothing_is_left_of_it(whole: Run) -> None:
    assert processes(whole.output) == {}
    assert list((whole.output / ".flashlink" / "state" / "work").iterdir()) == []
    assert list(whole.output.rglob("*.new")) == []
    assert list(whole.temporary.iterdir()) == []
    assert (whole.output / ".flashlink").stat().st_mode & 0o777 == 0o700


def test_a_second_run_does_nothing(whole: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.output.rglob("*.parquet")}
    again = Run(whole.output)
    assert again.finish() == 0, again.said()
    assert again.states() == []
    assert {path: path.stat().st_mtime_ns for path in whole.output.rglob("*.parquet")} == before
    assert again.said().count("Report: ") == 2  # one of each run


def test_neither_a_killed_plugin_nor_a_killed_run_changes_a_sample(whole: Run, start: Callable[..., Run]) -> None:
    first = start("killed")
    first.running("generate")
    (plugin,) = [pid for pid, words in processes(first.output).items() if "flashlink plugin" in words]
    os.kill(plugin, signal.SIGKILL)
    again = "The plugin ended (signal 9); it is started again, its pods go on."
    first.until(lambda: again in first.said(), "the plugin is started again")
    first.running("reference")
    first.process.kill()
    first.process.wait()
    assert list((first.output / ".snakemake/interlink/pods").glob("*.json"))
    second = start("killed")
    assert second.finish() == 0, second.said()
    created = (second.output / ".flashlink" / "plugin.log").read_text().count('"submitted"')
    assert created == len(list((second.output / "records").rglob("*.json")))
    assert list(second.temporary.iterdir()) == []
    assert digests(second.output) == digests(whole.output)


@contextmanager
def plugin_of(folder: Path, listen: str, grants: list[str]) -> Iterator[str]:
    """A plugin of a site of the user's own; gives its endpoint."""
    folder.mkdir()
    file = site_file(folder, grants)
    command = [sys.executable, "-m", "flashlink", "plugin", "--config", str(file), "--listen", listen]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*command, "--state", str(folder / "state")], stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().split(" at ")[1].strip()
        finally:
            process.terminate()


def site_file(folder: Path, grants: list[str]) -> Path:
    file = folder / "site.yaml"
    programs = str(Path(sys.executable).parent)
    site = {"containers": {"runtime": "host", "path": [programs]}, "volumes": {"host_paths": grants}, "name": "mine"}
    file.write_text(json.dumps(site))
    return file


def unreported(whole: Run, folder: Path) -> Path:
    """A copy of the finished run that lacks nothing but its report."""
    copy = folder / "copy"
    shutil.copytree(whole.output, copy, ignore=shutil.ignore_patterns(".flashlink"))
    (copy / "report.html").unlink()
    return copy


CHECKOUT = str(Path(__file__).parents[2])


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:s"])
def test_a_run_on_a_plugin_that_runs_already(
    whole: Run, start: Callable[..., Run], tmp_path: Path, listen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = unreported(whole, tmp_path)
    with plugin_of(tmp_path / "plugin", listen, [CHECKOUT, str(tmp_path)]) as endpoint:
        run = start(output.name, "--site", endpoint)
        assert run.finish(100) == 0, run.said()
        assert run.states()[-1] == ("report", "done")
        assert (output / "report.html").exists()


def test_a_plugin_whose_site_does_not_grant_the_folders(whole: Run, start: Callable[..., Run], tmp_path: Path) -> None:
    output = unreported(whole, tmp_path)
    with plugin_of(tmp_path / "plugin", "127.0.0.1:0", [CHECKOUT]) as endpoint:
        run = start(output.name, "--site", endpoint)
        assert run.finish(100) == 1
    error = run.said().splitlines()[-1]
    assert error.startswith("flashlink: step report failed at site remote: ")
    assert f"a site of this run has to grant {CHECKOUT} and {output} in volumes.host_paths of its file" in error


def test_a_run_on_a_site_of_the_users_own(whole: Run, start: Callable[..., Run], tmp_path: Path) -> None:
    output = unreported(whole, tmp_path)
    run = start(output.name, "--site", str(site_file(tmp_path, [])))
    assert run.finish(100) == 1
    assert f"site.yaml: volumes.host_paths: [] grants no mount of {CHECKOUT} and {output}, " in run.said()
    assert not run.states()
    run = start(output.name, "--site", str(site_file(tmp_path, [CHECKOUT, str(tmp_path)])))
    assert run.finish(100) == 0, run.said()
    assert (output / "report.html").exists()


def test_the_shipped_models_in_place_of_tables(whole: Run, start: Callable[..., Run], tmp_path: Path) -> None:
    output = unreported(whole, tmp_path)
    shutil.rmtree(output / "chunks" / "training")
    shutil.rmtree(output / "records" / "training")
    shipped = tmp_path / "shipped.yaml"
    shipped.write_text(CONFIGURATION.replace("parameterizations: tables", "parameterizations: shipped"))
    run = start(output.name, "--config", str(shipped))
    assert run.finish(100) == 0, run.said()
    done = [step for step, state in run.states() if state == "done"]
    assert sorted(done) == ["analyse", "merge", "report", "simulate", "simulate"], "and nothing that they do not change"
    before, after = digests(whole.output), digests(output)
    before = {name: digest for name, digest in before.items() if "training" not in name}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if "flash" in name}
    assert "the training of the tables" not in (output / "report.html").read_text()


def test_a_chunk_that_was_cut_short_is_told_in_one_line(whole: Run, start: Callable[..., Run], tmp_path: Path) -> None:
    output = unreported(whole, tmp_path)
    chunk = "chunks/production/generated/0000.parquet"
    os.truncate(output / chunk, 5000)
    run = start(output.name)
    assert run.finish(100) == 1
    error = run.said().splitlines()[-1]
    assert re.match(f"flashlink: step .* failed at site local: {chunk}: not a whole Parquet file", error)
    assert processes(output) == {}


def test_ctrl_c_leaves_nothing_running_and_the_next_run_goes_on(start: Callable[..., Run]) -> None:
    run = start("interrupted")
    run.until(lambda: ("generate", "done") in run.states(), "a chunk is done")
    run.process.send_signal(signal.SIGINT)
    assert run.finish(40) == 130
    assert processes(run.output) == {}
    assert "Interrupted. Nothing runs on; the next run goes on from here." in run.said()
    done = run.states().count(("generate", "done"))
    (run.output / ".flashlink" / "ledger.jsonl").unlink()  # or its old lines would be taken for the next run's
    again = start("interrupted")
    again.until(lambda: ("generate", "running") in again.states(), "the rest is generated")
    again.process.terminate()
    assert again.finish(40) == 143
    chunks = len(list(run.output.glob("records/*/generate-*.json")))
    assert chunks >= done


def test_ctrl_c_ends_all_though_the_plugin_hangs(start: Callable[..., Run]) -> None:
    run = start("hanging")
    run.running("generate")
    (plugin,) = [pid for pid, words in processes(run.output).items() if "flashlink plugin" in words]
    os.kill(plugin, signal.SIGSTOP)
    run.process.send_signal(signal.SIGINT)
    assert run.finish(120) == 130
    assert processes(run.output) == {}
    assert "Nothing runs on" in run.said()


def test_only_one_run_at_a_time(start: Callable[..., Run]) -> None:
    first = start("shared")
    first.running("generate")
    second = subprocess.run(
        [sys.executable, "-m", "flashlink", "run", "--output", str(first.output)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr == (
        f"flashlink: --output {first.output}: another 'flashlink run' is at work there; "
        "wait for it, or take another folder\n"
    )


def test_two_ctrl_c_end_it_at_once_and_leave_no_process(start: Callable[..., Run]) -> None:
    run = start("impatient")
    run.running("generate")
    run.process.send_signal(signal.SIGINT)
    run.until(lambda: "Ending the pods" in run.said(), "it heard")
    run.process.send_signal(signal.SIGINT)
    assert run.finish(40) == 130
    assert processes(run.output) == {}


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (["--events", "0"], 2, "flashlink: Invalid value for '--events': 0 is not in the range x>=1."),
        (["--seed", "5000000000"], 1, "flashlink: --seed: 5000000000 is greater than the maximum of 4294967295"),
        (["--config", "c.yaml"], 1, "flashlink: c.yaml: chunk: 'x' is not of type 'integer'"),
        (["--site", "nowhere.toml"], 1, "nowhere.toml"),
        (["--site", "http://127.0.0.1:9"], 1, "flashlink: http://127.0.0.1:9: no interLink plugin answers"),
        (["--output", ""], 1, "flashlink: --output: '' is not the path of a folder in printable characters"),
        (["--output", "a\nb"], 1, "flashlink: --output: 'a\\nb' is not the path of a folder in printable characters"),
        (["--output", "c.yaml"], 2, "flashlink: Invalid value for '--output': Directory 'c.yaml' is a file."),
        (["--output", "c.yaml/x"], 1, "c.yaml/x: cannot be used: Not a directory"),
        (["--cores", "0"], 2, "flashlink: Invalid value for '--cores': 0 is not in the range x>=1."),
        (["--config", "d.yaml"], 1, "flashlink: d.yaml: evnts: no such key; did you mean 'events'?"),
        (["--config", "e.yaml"], 1, "flashlink: sites: generate: 'mars' is not the site of this run, which is 'local'"),
        (["--config", "none.yaml"], 2, "flashlink: Invalid value for '--config': File 'none.yaml' does not exist."),
        (["--site", ""], 1, "flashlink: --site: '' is not 'local', 'htcondor', 'slurm', the file of a site, "),
        (["--site", "ssh://far"], 1, "flashlink: --site: 'ssh://far' is not 'local', 'htcondor', 'slurm', "),
        (["--output", "/proc/results"], 1, "flashlink: --output /proc/results: cannot be used: "),
    ],
)
def test_what_is_asked_wrongly_is_told_in_one_line(tmp_path: Path, options: list[str], status: int, line: str) -> None:
    (tmp_path / "c.yaml").write_text("chunk: x")
    (tmp_path / "d.yaml").write_text("evnts: 3")
    (tmp_path / "e.yaml").write_text("sites: {generate: mars}")
    asked = subprocess.run(
        [sys.executable, "-m", "flashlink", "run", "--output", str(tmp_path / "out"), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert asked.returncode == status
    assert line in asked.stderr
    assert asked.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
