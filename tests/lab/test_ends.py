"""Ends of real containers, each brought about by killing something: told truthfully, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab

WAIT = "echo up; while :; do sleep 0.1; done"


def processes(job: Any) -> dict[int, tuple[int, str, str]]:
    """Of the job's session: process id to parent, name and command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if int(fields[3]) == job.process.pid and fields[0] != "Z":
                found[int(entry.name)] = (int(fields[1]), (entry / "comm").read_text().strip(), words)
        except OSError:
            continue
    return found


def named(name: str) -> Callable[[Any], int]:
    """The one process of the job whose command line or name begins so."""

    def find(job: Any) -> int:
        alive = processes(job)
        (pid,) = [pid for pid, (_, comm, words) in alive.items() if words.startswith(name) or comm.startswith(name)]
        return pid

    return find


def supervisor(job: Any) -> int:
    alive = processes(job)
    (pid,) = [pid for pid, (parent, _, _) in alive.items() if parent == job.process.pid and _supervises(pid)]
    return pid


def _supervises(pid: int) -> bool:
    return Path(f"/proc/{pid}/fd/8").exists()


#: What is killed; the exit codes that the container may have, and the cause.
KILLED: dict[str, tuple[Callable[[Any], int], set[int], str]] = {
    "container": (named("/bin/sh -c echo up"), {137}, "signal"),
    "process 1 of the container": (named("appinit"), {137}, "signal"),
    "Apptainer": (named("Apptainer runtime parent"), {137}, "signal"),
    "supervisor": (supervisor, {137}, "runtime"),
    "main shell": (lambda job: job.process.pid, {137, 143}, "cancelled"),  # SIGTERM comes first, SIGKILL at once
}


@pytest.mark.parametrize("what", KILLED)
def test_what_is_killed_is_told_and_leaves_nothing(pods, what):
    find, codes, cause = KILLED[what]
    job = pods.start(one(shell(WAIT)))
    job.until(lambda job: b"up\n" in job.log())
    time.sleep(0.6)  # its supervisor has seen what runs beside it
    os.kill(find(job), signal.SIGKILL)
    job.wait()
    _assert_soon_clean(job)
    told, why = job.ends()["main"]
    assert why == cause, job.job_log
    assert told in codes


def _assert_soon_clean(job: Any) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end and (job.processes() or (job.folder / "tmp").exists()):
        time.sleep(0.1)
    assert_clean(job)


def test_a_killed_fuse_daemon_does_not_hold_up_the_end(pods):
    job = pods.start(one(shell(WAIT), terminationGracePeriodSeconds=2))
    job.until(lambda job: b"up\n" in job.log())
    os.kill(named("/usr/bin/squashfuse")(job), signal.SIGKILL)
    os.kill(job.process.pid, signal.SIGTERM)
    job.wait()
    _assert_soon_clean(job)
    assert job.ends()["main"][1] == "cancelled"


@pytest.fixture
def small(lab, tmp_path) -> Iterator[Path]:
    """A file system of 2 MiB that belongs to the plain user."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0755", "tmpfs", str(folder)], check=True)
    lab.give(folder)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_the_end_is_told(pods, small):
    pods.folder = small
    full = {**shell("head -c 5000000 /dev/zero >/tmp/big 2>/dev/null; exit 3"), "name": "full"}
    job = pods.start({"containers": [full, shell("sleep 5")]})
    job.until(lambda job: "full" in job.ends(), 20)
    assert job.ends()["full"] == (3, "exited")
    assert job.wait() == 3
    assert job.ends()["main"] == (0, "exited")
    _assert_soon_clean(job)
