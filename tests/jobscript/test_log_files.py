"""The logs of containers on disk: everything that was written, in order, within the site's bound."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flashlink.jobscript.script import runtime
from flashlink.pods.pod import Container
from flashlink.site.config import Containers, Limits, Site

Start = Callable[..., Any]
BOUND = 64 * 1024
BOUNDED = Site(containers=Containers(runtime="host"), limits=Limits(log_size="64Ki"))
LINES = b"".join(b"line %07d\n" % number for number in range(40_000))
WRITE_LINES = "i=0; while [ $i -lt 40000 ]; do printf 'line %07d\\n' $i; i=$((i + 1)); done"


def shell(name: str, script: str) -> Container:
    return Container(name=name, image="any", command=("sh", "-c", script))


def pieces(job: Any) -> dict[int, bytes]:
    """Start to content of what follows the beginning of main's log."""
    return {int(path.suffix[1:]): path.read_bytes() for path in (job.folder / "logs").glob("main.0.log.*")}


def test_who_opens_standard_error_anew_empties_nothing(start: Start) -> None:
    job = start(shell("main", "echo one; echo two >/dev/stderr; echo three >/dev/stdout; echo four >&2"))
    assert job.wait() == 0
    assert job.log("main") == b"one\ntwo\nthree\nfour\n"


def test_a_log_keeps_its_beginning_and_its_end(start: Start) -> None:
    job = start(shell("main", WRITE_LINES), site=BOUNDED)
    assert job.wait(60) == 0, job.complaints
    assert job.log("main") == LINES[: BOUND // 2]
    kept = pieces(job)
    assert len(kept) == 2
    first, second = sorted(kept)
    assert second == first + len(kept[first])
    assert kept[first] + kept[second] == LINES[first:]
    assert len(LINES) - first >= BOUND // 4
    assert sum(map(len, kept.values())) <= BOUND // 2
    notes = [line.split() for line in (job.folder / "logs" / "main.0.times").read_text().splitlines()]
    assert int(notes[-1][1]) == len(LINES)


def test_a_log_within_its_bound_is_one_file(start: Start) -> None:
    job = start(shell("main", f"head -c {BOUND // 2 - 1} /dev/zero"), site=BOUNDED)
    assert job.wait() == 0
    assert len(job.log("main")) == BOUND // 2 - 1
    assert pieces(job) == {}


def test_a_log_goes_on_when_what_writes_it_was_killed(start: Start) -> None:
    job = start(shell("main", "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two"))
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"one\n")
    job.wait_for(lambda: len(pumps(job)) == 1)
    os.kill(pumps(job)[0], signal.SIGKILL)
    (job.folder / "tmp" / "main" / "go").touch()
    assert job.wait() == 0
    assert job.log("main") == b"one\ntwo\n"


def pumps(job: Any) -> list[int]:
    """What moves output into logs, of the job's session."""
    command = ["ps", "-o", "pid=,comm=", "-s", str(job.process.pid)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if line.split()[1] == "head"]


def test_who_keeps_the_pipe_open_does_not_hold_up_the_end(start: Start) -> None:
    job = start(shell("main", "setsid sleep 60 & echo done"), shell("other", "sleep 8"))
    job.wait_for(lambda: bool(job.ended("main")), 6)
    assert job.log("main") == b"done\n"
    job.terminate()
    job.wait()
    assert not job.processes()


@pytest.mark.slow
def test_of_a_container_that_restarts_the_present_log_and_the_previous_are_kept(start: Start) -> None:
    job = start(shell("main", "echo try; exit 1"), restart_policy="OnFailure", environment={"FLASHLINK_BACKOFF": "0"})
    job.wait_for(lambda: len(job.ended("main")) >= 4)
    job.terminate()
    job.wait()
    last = len(job.ended("main")) - 1
    names = {path.name for path in (job.folder / "logs").glob("*.log")}
    assert names == {f"main.{last - 1}.log", f"main.{last}.log"}


@pytest.mark.parametrize("mode", [">>", ">"])
def test_the_jobs_own_log_is_bounded(tmp_path: Path, mode: str) -> None:
    log = tmp_path / "job.log"
    script = f"""
        exec 2{mode}{log}
        limit_logs {BOUND}
        head -c 100000 /dev/zero | tr '\\0' x >&2
        (bound_job_log)
        echo last >&2
        (bound_job_log)
    """
    subprocess.run(["bash", "-u", "-c", f"{runtime()}\n{script}"], check=True)
    kept = log.read_bytes().replace(b"\0", b"")  # a log that is not opened for appending has a hole
    cut = f"\n[flashlink: {100_000 - BOUND // 2} bytes were cut here]\n".encode()
    assert kept.count(b"x") == BOUND // 2
    assert kept == b"x" * (BOUND // 2) + cut + b"last\n"
    assert log.stat().st_blocks * 512 <= BOUND


def test_notes_become_rarer_the_more_there_are(tmp_path: Path) -> None:
    script = f"""
        log={tmp_path}/main.0.log log_noted=0 log_notes=19999 log_every=5 size=0
        log_size() {{ size=$looks; }}
        for ((looks = 0; looks <= 40; looks++)); do note_log; done
    """
    ran = subprocess.run(["bash", "-u"], input=f"{runtime()}\n{script}", capture_output=True, text=True, check=True)
    assert [int(line.split()[1]) for line in (tmp_path / "main.0.times").read_text().splitlines()] == [
        5,
        10,
        20,
        30,
        40,
    ]
    assert ran.stderr == ""
