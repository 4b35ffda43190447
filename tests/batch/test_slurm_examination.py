"""What ``flashlink check`` says of a Slurm site. Commands are run by a real bash; what Slurm says are its own words."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashlink.batch import JobSpec
from flashlink.batch.slurm import examination
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import read
from flashlink.batch.slurm.system import SlurmBatch
from flashlink.errors import SiteError

PROBE = JobSpec("uid", "check", Path("/w/job.sh"), Path("/w"), 1.0, 2 << 30, walltime=300)
FLAVOURS = [
    {"name": "serial", "partition": "serial", "cpus": 4, "memory_mb": 1000, "walltime_seconds": 120},
    {"name": "booster", "partition": "boost", "min_gpus": 1, "gpus": 4},
]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for commands that stands first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with (tmp_path / "held").open("w") as held:
        yield Connection(read({}), held.fileno(), tmp_path)


def run(connection: Connection, command: Command) -> Answer:
    (answer,) = connection.run(command)
    return answer


def install(folder: Path, names: tuple[str, ...], says: str = "") -> None:
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{says}\n")
        (folder / name).chmod(0o755)


def token(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.signature"


def test_commands_that_are_missing_are_named(connection: Connection, programs: Path) -> None:
    install(programs, ("sbatch", "squeue", "scancel", "scontrol", "sinfo"))
    found = examination.commands_found(run(connection, examination.programs()), connection.where)
    assert (found.status, found.message) == ("problem", "there is no sacct on this machine; set PATH there, or 'shell'")


def test_the_version_of_commands_is_told(connection: Connection, programs: Path) -> None:
    install(programs, examination.PROGRAMS, "echo slurm 24.11.5")
    found = examination.commands_found(run(connection, examination.programs()), connection.where)
    assert (found.status, found.message) == ("ok", "slurm 24.11.5, on this machine")


def test_a_spool_is_made_and_can_be_written(connection: Connection, tmp_path: Path) -> None:
    folder = str(tmp_path / "new" / "spool")
    found = examination.space_found(run(connection, examination.space(folder, 10)), folder)
    assert found.status == "ok", found
    assert found.message.startswith(f"{folder} at the site, ")
    assert list(Path(folder).iterdir()) == []


def test_a_spool_that_cannot_be_made_is_a_problem(connection: Connection) -> None:
    found = examination.space_found(run(connection, examination.space("/proc/spool", 10)), "/proc/spool")
    assert found.status == "problem"
    assert "cannot create directory" in found.message


def test_little_space_is_a_warning_and_words_in_place_of_it_a_problem() -> None:
    row = Answer("/dev/sda1 2000 1000 70000 97% /scratch\n", "", 0)
    found = examination.space_found(row, "/s")
    assert (found.status, found.message) == ("warning", "/s at the site has only 68 MiB free; make room")
    assert examination.space_found(Answer("/dev/sda1 2000 1000 900 97% /scratch\n", "", 0), "/s").status == "problem"
    assert examination.space_found(Answer("Welcome!\n", "", 0), "/s").status == "problem"


@pytest.mark.parametrize(
    ("left", "status", "words"),
    [(3600, "ok", "min from now"), (60, "warning", "something has to renew it"), (-5, "problem", "has expired on")],
)
def test_until_when_a_token_is_good(left: float, status: str, words: str) -> None:
    found = examination.token_found(token(exp=time.time() + left, sun="flash"), "/etc/token")
    assert found.status == status
    assert words in found.message
    assert found.message.startswith("/etc/token holds one")


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.W10.c", token(exp="soon"), "..", "a.é.c"])
def test_what_is_no_token_of_that_form_is_told_so(text: str) -> None:
    assert examination.token_found(text, "/etc/token").status == "warning"


def test_each_flavour_gets_the_smallest_job_that_may_run_there() -> None:
    kinds = examination.least(PROBE, read({"flavours": FLAVOURS}))
    serial, booster = kinds["serial"], kinds["booster"]
    assert (serial.cpus, serial.memory, serial.gpus, serial.walltime) == (1.0, 1000 << 20, 0, 120)
    assert (booster.cpus, booster.memory, booster.gpus, booster.walltime) == (1.0, 2 << 30, 1, 300)
    assert examination.least(PROBE, read({})) == {}


def test_slurm_is_asked_about_the_most_that_each_flavour_allows() -> None:
    options = read({"flavours": FLAVOURS})
    asked = {name: examination.trial(spec, options).words for name, spec in examination.most(PROBE, options)}
    assert asked["serial"][:2] == ("sbatch", "--test-only")
    assert {"--partition=serial", "--cpus-per-task=4", "--mem=1000", "--time=2"} <= set(asked["serial"])
    assert {"--partition=boost", "--gres=gpu:4", "--time=5"} <= set(asked["booster"])


def test_what_slurm_says_of_a_job_that_it_would_not_take() -> None:
    said = "sbatch: error: invalid partition specified: boster\nallocation failure: Invalid partition name specified\n"
    options = read({"partition": "boster"})
    found = examination.trial_found(Answer("", said, 1), "booster", options)
    assert (found.status, found.subject) == ("problem", "flavour booster")
    assert found.message.startswith("partition boster refuses the most that it allows: Slurm: invalid partition")
    starts = "sbatch: Job 7 to start at 2026-11-27T18:00:00 using 1 processors on nodes worker in partition cpu\n"
    assert examination.trial_found(Answer("", starts, 0), "", options).message == "partition boster takes jobs"


def test_without_commands_nothing_else_is_asked(tmp_path: Path, programs: Path) -> None:
    options = {"shell": ["env", "PATH=/usr/bin:/bin", "bash"], "spool": str(tmp_path / "spool")}
    system = SlurmBatch(tmp_path / "state", cpus=0, memory=0, pods=1, options=options)
    try:
        assert [found.subject for found in system.examine(PROBE)] == ["Slurm's commands"]
        with pytest.raises(SiteError, match="cannot be run"):
            system.capacity()
    finally:
        system.close()
