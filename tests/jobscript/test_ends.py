"""Every way in which a job can end, each brought about: what is told, with which code, and that nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobState, JobStatus
from flashlink.jobscript import journal
from flashlink.plugin.record import Record
from flashlink.plugin.states import container_states
from flashlink.pods.pod import Container, EmptyDir
from flashlink.pods.probes import Exec, Life, Probe
from flashlink.pods.status import Outline, Phase

Start = Callable[..., Any]
WAIT = "echo up; while :; do sleep 0.1; done"
VOLUMES = {"disk": EmptyDir("disk"), "memory": EmptyDir("memory", in_memory=True)}


def shell(name: str, script: str) -> Container:
    return Container(name=name, image="any", command=("sh", "-c", script))


def is_up(job: Any, *names: str) -> bool:
    logs = [job.folder / "logs" / f"{name}.0.log" for name in names or ("main",)]
    return all(log.exists() and log.read_bytes().startswith(b"up\n") for log in logs)


def assert_nothing_left(job: Any) -> None:
    """No process, no folder of the job; what is for the user stays."""
    job.wait_for(lambda: not job.processes() and not shells(job), 15)
    job.wait_for(lambda: not (job.folder / "tmp").exists() and not (job.folder / "volumes").exists(), 60)
    assert not Path("/dev/shm", f"flashlink-{job.pod.uid}").exists()
    assert str(job.folder) not in Path("/proc/mounts").read_text()
    assert {path.name for path in job.folder.iterdir()} <= {"job.log", "job.sh", "journal", "logs"}


def shells(job: Any) -> dict[int, int]:
    """The job's own shells that live, process id to that of the parent."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(job.folder / "job.sh").encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found[int(entry.name)] = int(fields[1])
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def watchers(job: Any) -> list[int]:
    """Watchers that are ready; the main shell has other children too, for moments."""
    return [pid for pid, parent in shells(job).items() if parent == job.process.pid and ignores_term(pid)]


def ignores_term(pid: int) -> bool:
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:  # it has ended
        return False
    return bool(int(lines["SigIgn"], 16) >> (signal.SIGTERM - 1) & 1)


def supervisor(job: Any) -> int:
    (found,) = [pid for pid, parent in shells(job).items() if parent == job.process.pid and supervises(pid)]
    return found


def supervises(pid: int) -> bool:
    """Whether it holds the pipe of a container's output."""
    return Path(f"/proc/{pid}/fd/8").exists()


def states(job: Any, code: int) -> dict[str, tuple[Phase, int, str]]:
    """What the plugin makes of it, when the batch system says that the script has ended with `code`."""
    names = tuple(container.name for container in job.pod.containers)
    inits = tuple(container.name for container in job.pod.init_containers)
    status = JobStatus(JobState.ENDED, code if code >= 0 else 128 - code)
    record = Record(Outline(job.pod.uid, "pod", "default", inits, names), 0.0, job=status, ended_at=time.time())
    told = container_states(record, job.events, over=True)
    return {name: (state.phase, state.exit_code, state.message) for name, state in told.items()}


def send(name: str) -> Callable[[Any], None]:
    return lambda job: job.process.send_signal(getattr(signal, f"SIG{name}"))


def evict(job: Any) -> None:
    (job.folder / "tmp" / ".evicted").write_text("too much\n")
    send("USR2")(job)


def kill(which: Callable[[Any], int]) -> Callable[[Any], None]:
    return lambda job: os.kill(which(job), signal.SIGKILL)


def kill_container(job: Any) -> None:
    (first,) = [pid for pid in children(supervisor(job)) if Path(f"/proc/{pid}/comm").read_text() == "sh\n"]
    os.kill(first, signal.SIGKILL)


#: What happens to a pod of which `main` waits; the exit code of the script, of the container, and the journal's cause.
ENDS: dict[str, tuple[Callable[[Any], None], int, int, str]] = {
    "SIGTERM": (send("TERM"), 143, 143, "cancelled"),
    "SIGINT": (send("INT"), 143, 143, "cancelled"),
    "SIGHUP": (send("HUP"), 143, 143, "cancelled"),
    "deadline": (send("USR1"), 143, 143, "deadline"),
    "eviction": (evict, 143, 143, "evicted"),
    "killed container": (kill_container, 137, 137, "signal"),
    "killed supervisor": (kill(supervisor), 137, 137, "runtime"),
    "killed main shell": (kill(lambda job: job.process.pid), -9, 137, "cancelled"),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_told_and_leaves_nothing(start: Start, end: str) -> None:
    inject, script, code, cause = ENDS[end]
    job = start(shell("main", WAIT), volumes=VOLUMES)
    job.wait_for(lambda: is_up(job))
    inject(job)
    assert job.wait(30) == script
    assert_nothing_left(job)
    assert [(event.exit, event.cause) for event in job.ended("main")] in (
        [(code, cause)],
        [(143, cause)],  # which of the signals came first
    )
    phase, told, message = states(job, script)["main"]
    assert (phase, told != 0, bool(message)) == (Phase.TERMINATED, True, True)


@pytest.mark.parametrize("end", ["SIGTERM", "killed main shell"])
def test_a_run_that_was_given_up_leaves_the_folder_to_the_one_after_it(start: Start, end: str) -> None:
    """Its node was taken for dead and comes back: the job runs on another, in the same folder."""
    job = start(shell("main", WAIT), volumes=VOLUMES)
    job.wait_for(lambda: is_up(job))
    (job.folder / "volumes" / "disk" / "of the next run").touch()
    with (job.folder / "journal").open("a") as written:
        written.write(f"{time.time() + 2}\tjob-started\t-\tnode=other\tpid=1\n")
    ENDS[end][0](job)
    job.wait(30)
    job.wait_for(lambda: not job.processes() and not shells(job), 15)
    assert (job.folder / "volumes" / "disk" / "of the next run").exists()
    assert (job.folder / "tmp").exists()
    assert not Path("/dev/shm", f"flashlink-{job.pod.uid}").exists()


@pytest.mark.parametrize(("script", "code"), [("echo up", 0), ("echo up; exit 3", 3), ("echo up; kill -SEGV $$", 139)])
def test_an_end_of_its_own_is_told_and_leaves_nothing(start: Start, script: str, code: int) -> None:
    job = start(shell("main", f"setsid sleep 60 & {script}"), volumes=VOLUMES)
    assert job.wait(30) == code
    assert_nothing_left(job)
    assert [event.exit for event in job.ended("main")] == [code]
    assert states(job, code)["main"][1] == code


def test_a_killed_watcher_is_replaced_and_still_cleans_up(start: Start) -> None:
    job = start(shell("main", WAIT), volumes=VOLUMES)
    job.wait_for(lambda: is_up(job))
    (first,) = watchers(job)
    os.kill(first, signal.SIGKILL)
    job.wait_for(lambda: watchers(job) not in ([], [first]))
    job.process.kill()
    job.wait()
    assert_nothing_left(job)


def test_a_killed_supervisor_takes_its_container_along_while_the_others_go_on(start: Start) -> None:
    job = start(shell("other", "sleep 4; echo well"), shell("main", f"{WAIT} # main"))
    job.wait_for(lambda: is_up(job))
    (mine,) = [pid for pid in shells(job) if any(b"# main" in command(child) for child in safe_children(pid))]
    os.kill(mine, signal.SIGKILL)
    job.wait_for(lambda: not any(b"# main" in command(pid) for pid in job.processes()), 8)
    assert job.wait(30) == 137
    assert job.log("other") == b"well\n"
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(137, "runtime")]
    assert [(event.exit, event.cause) for event in job.ended("other")] == [(0, "exited")]
    assert_nothing_left(job)


def test_a_killed_prober_is_followed_by_another(start: Start, tmp_path: Path) -> None:
    ill = tmp_path / "ill"
    probe = Probe(Exec(("sh", "-c", 'test ! -e "$0"', str(ill))), period=1, failures=1)
    main = Container("main", "", ("sh", "-c", WAIT), life=Life(liveness=probe))
    job = start(main)
    job.wait_for(lambda: is_up(job))
    (prober,) = [pid for pid in children(supervisor(job)) if pid in shells(job)]
    os.kill(prober, signal.SIGKILL)
    ill.touch()
    job.wait(30)
    assert [event.cause for event in job.ended("main")] == ["probe"]
    assert_nothing_left(job)


def safe_children(pid: int) -> list[int]:
    try:
        return children(pid)
    except OSError:
        return []


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_killed_main_shell_lets_no_container_start_again(start: Start) -> None:
    job = start(shell("main", WAIT), restart_policy="Always", environment={"FLASHLINK_BACKOFF": "0"})
    job.wait_for(lambda: is_up(job))
    job.process.kill()
    job.wait()
    assert_nothing_left(job)
    assert len([event for event in job.events if isinstance(event, journal.Started)]) == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILL = "head -c 3000000 /dev/zero >big 2>/dev/null"


def test_on_a_full_disk_the_end_of_a_container_is_told_at_once(start: Start, small: Path) -> None:
    job = start(shell("full", f"{FILL}; exit 3"), shell("main", "sleep 6"), within=small)
    job.wait_for(lambda: bool(job.ended("full")), 5)
    assert [(event.exit, event.cause) for event in job.ended("full")] == [(3, "exited")]
    assert job.wait(30) == 3
    assert [event.exit for event in job.ended("main")] == [0]
    assert_nothing_left(job)


def test_on_a_disk_that_stays_full_the_end_is_told_when_the_pod_has_made_room(start: Start, small: Path) -> None:
    refill = f"while :; do {FILL} & cat big >more 2>/dev/null; sleep 0.1; done"
    job = start(shell("full", refill), shell("main", "sleep 2; exit 4"), within=small)
    time.sleep(5)
    job.terminate()
    assert job.wait(60) in (4, 137, 143)
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(4, "exited")]
    assert job.ended("full")[-1].cause == "cancelled"
    assert isinstance(job.events[-1], journal.JobEnded)
    assert_nothing_left(job)


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(handle, bytes(4096))
    os.close(handle)


def test_on_a_disk_that_others_have_filled_the_batch_system_tells_the_end(start: Start, small: Path) -> None:
    job = start(shell("main", WAIT), within=small)
    job.wait_for(lambda: is_up(job))
    fill(small / "of-others")
    (job.folder / "tmp" / ".reserve").unlink()
    fill(small / "more-of-others")
    job.terminate()
    assert job.wait(60) == 143
    assert_nothing_left(job)
    assert states(job, 143)["main"][:2] == (Phase.TERMINATED, 143)


@pytest.mark.slow
def test_the_deadline_counts_from_the_start_of_the_pod_whatever_runs(start: Start) -> None:
    began = time.monotonic()
    inits = (shell("first", "sleep 1"), shell("second", "sleep 1"))
    job = start(shell("main", WAIT), shell("other", WAIT), init=inits, deadline=4)
    assert job.wait(30) == 143
    assert time.monotonic() - began < 4 + 1 + 8
    assert {event.cause for name in ("main", "other") for event in job.ended(name)} == {"deadline"}
    assert [event.exit for name in ("first", "second") for event in job.ended(name)] == [0, 0]
    assert_nothing_left(job)


@pytest.mark.slow
def test_a_deadline_in_an_init_container_starts_nothing_more(start: Start) -> None:
    job = start(shell("main", WAIT), init=(shell("first", "sleep 0.1"), shell("second", WAIT)), deadline=2)
    assert job.wait(30) == 143
    assert [(event.exit, event.cause) for event in job.ended("second")] == [(143, "deadline")]
    assert not job.ended("main")
    assert_nothing_left(job)


@pytest.mark.slow
def test_each_container_has_the_grace_and_all_have_it_at_the_same_time(start: Start) -> None:
    stubborn = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    job = start(shell("a", stubborn), shell("b", stubborn), shell("c", polite), grace=3)
    job.wait_for(lambda: is_up(job, "a", "b", "c"))
    began = time.monotonic()
    job.terminate()
    job.wait(30)
    assert 2.9 < time.monotonic() - began < 12
    assert {name: job.ended(name)[0].exit for name in "abc"} == {"a": 137, "b": 137, "c": 0}
    assert job.log("c") == b"up\nbye\n"
    assert_nothing_left(job)
