"""The life of a pod by the shell runtime, in real bash, with real processes."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flashlink.jobscript import journal
from flashlink.pods.pod import Container, EmptyDir, File, Files
from jobscript.hostpods import order, shell

Start = Callable[..., Any]


def test_all_containers_succeed(start: Start) -> None:
    job = start(shell("a", "echo one"), shell("b", "echo two >&2"))
    assert job.wait() == 0
    assert (job.log("a"), job.log("b")) == (b"one\n", b"two\n")
    assert isinstance(job.events[0], journal.JobStarted)
    assert isinstance(job.events[-1], journal.JobEnded)
    assert job.events[-1].exit == 0
    assert job.complaints == ""


def test_init_containers_run_one_after_the_other_then_the_containers(start: Start) -> None:
    job = start(shell("main", "true"), init=(shell("first", "sleep 0.2"), shell("second", "true")))
    assert job.wait() == 0
    assert order(job.events) == [
        *("started first", "ended first", "started second", "ended second"),
        *("started main", "ended main"),
    ]


def test_a_failed_init_container_stops_the_pod(start: Start) -> None:
    job = start(shell("main", "echo never"), init=(shell("bad", "exit 4"), shell("next", "true")))
    assert job.wait() == 4
    assert order(job.events) == ["started bad", "ended bad", "skipped next", "skipped main"]
    skipped = [event for event in job.events if isinstance(event, journal.Skipped)]
    assert {(event.cause, event.init) for event in skipped} == {("init-failed", "bad")}
    assert not (job.folder / "logs" / "main.0.log").exists()


def test_containers_run_side_by_side(start: Start) -> None:
    meet = "touch /proc/self/cwd/../%s; while [ ! -e ../%s ]; do sleep 0.05; done"
    job = start(shell("a", meet % ("here-a", "here-b")), shell("b", meet % ("here-b", "here-a")))
    assert job.wait() == 0


def test_exit_codes_are_told_for_each_and_the_first_failure_is_the_jobs(start: Start) -> None:
    job = start(shell("good", "true"), shell("bad", "sleep 0.2; exit 3"), shell("killed", "kill -9 $$"))
    assert job.wait() == 3
    assert [(event.exit, event.cause) for event in job.ended("good")] == [(0, "exited")]
    assert [(event.exit, event.cause) for event in job.ended("bad")] == [(3, "exited")]
    assert [(event.exit, event.cause) for event in job.ended("killed")] == [(137, "signal")]


def test_an_end_is_told_at_once(start: Start) -> None:
    job = start(shell("short", "exit 7"), shell("long", "sleep 3"))
    job.wait_for(lambda: bool(job.ended("short")), 2)
    assert not job.ended("long")
    job.terminate()
    assert job.wait() == 7


def test_a_program_that_is_not_there(start: Start) -> None:
    job = start(Container(name="main", image="", command=("no-such-program",)))
    assert job.wait() == 127
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(127, "runtime")]
    assert job.log("main") == b""
    assert "there is no program 'no-such-program'" in job.complaints
    assert job.reason("main") == "there is no program 'no-such-program' on this machine\n"


def test_no_reason_is_left_where_a_container_ended_by_itself(start: Start) -> None:
    job = start(shell("main", "exit 3"))
    job.wait()
    assert not list((job.folder / "logs").glob("*.reason"))


def test_a_working_directory_that_is_not_there(start: Start) -> None:
    job = start(Container(name="main", image="", command=("true",), working_dir="/no/such"))
    assert job.wait() == 128
    assert "/no/such does not exist" in job.complaints


def test_signals_are_not_ignored_in_a_container(start: Start) -> None:
    job = start(shell("main", "grep SigIgn /proc/self/status"))
    job.wait()
    assert job.log("main").split()[1] == b"0" * 16


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_the_end_from_outside_is_passed_on(start: Start, name: str) -> None:
    job = start(shell("main", "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done"))
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"up\n")
    job.process.send_signal(getattr(signal, f"SIG{name}"))
    assert job.wait() == 9
    assert job.log("main").endswith(b"bye\n")
    assert [event.cause for event in job.ended("main")] == ["cancelled"]


@pytest.mark.slow
def test_the_grace_ends_with_a_kill(start: Start) -> None:
    job = start(shell("main", "trap '' TERM; echo up; while :; do sleep 0.05; done"), grace=1)
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"up\n")
    began = time.monotonic()
    job.terminate()
    assert job.wait() == 137
    assert 0.9 < time.monotonic() - began < 4
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(137, "cancelled")]


def test_a_cancelled_init_container_starts_nothing_more(start: Start) -> None:
    job = start(shell("main", "true"), init=(shell("prep", "sleep 30"),))
    job.wait_for(lambda: "started prep" in order(job.events))
    job.terminate()
    assert job.wait() == 143
    assert order(job.events) == ["started prep", "ended prep", "skipped main"]


@pytest.mark.slow
def test_the_deadline(start: Start) -> None:
    job = start(shell("main", "trap 'exit 0' TERM; while :; do sleep 0.05; done"), deadline=1)
    assert job.wait() == 143
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(143, "deadline")]


@pytest.mark.slow
def test_a_container_that_stops_itself_has_not_ended(start: Start) -> None:
    job = start(shell("main", "kill -STOP $$; exit 6"))
    job.wait_for(lambda: "started main" in order(job.events))
    time.sleep(0.6)
    assert not job.ended("main")
    for pid in job.processes():
        os.kill(pid, signal.SIGCONT)
    assert job.wait() == 6


def test_the_environment_is_exact_and_nothing_else_comes_in(start: Start) -> None:
    values = {
        "QUOTES": "a'b\"c`d$(e)${f}\\g!",
        "LINES": "one\ntwo\n\n",
        "EMPTY": "",
        "UNICODE": "µ→λ \U0001f600",
        "BIG": "x" * 100_000,
        "RANDOM": "1",
        "SECONDS": "soon",
        "IFS": "abc",
        "LC_ALL": "no_such",
        "POSIXLY_CORRECT": "1",
        "BASH_ENV": "/nowhere",
        "index": "i",
        "HOME": "/mine",
    }
    command = ("/usr/bin/env", "-0")
    job = start(Container(name="main", image="", command=command, env=values))
    assert job.wait() == 0, job.complaints
    seen = dict(item.split("=", 1) for item in job.log("main").decode().split("\0") if item)
    extra = {"PATH", "TMPDIR", "FLASHLINK_POD"}
    assert {name: value for name, value in seen.items() if name not in extra} == values
    assert seen["FLASHLINK_POD"] == job.pod.uid
    assert "SECRET_OF_THE_JOB" not in seen


def test_arguments_are_exact(start: Start) -> None:
    words = ("", " ", "a\nb", "'", '"', "\\", "$HOME", "`id`", "*", "-n", "--", "é", "{a,b}", "~")
    job = start(Container(name="main", image="", command=("printf", "%s\\0"), args=words))
    assert job.wait() == 0
    assert tuple(job.log("main").decode().split("\0")[:-1]) == words


@pytest.mark.slow
def test_no_value_is_in_an_argument_of_any_process(start: Start) -> None:
    secret = "s3cr3t-" + os.urandom(8).hex()
    volume = Files("conf", (File("key", secret.encode()),))
    job = start(shell("main", 'sleep 1; test -n "$KEY"', env={"KEY": secret}), volumes={"conf": volume})
    hidden = (secret.encode(), base64.b64encode(secret.encode()))
    while job.process.poll() is None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            assert not any(word in line for word in hidden)
    assert job.wait() == 0


def test_nothing_is_left_behind(start: Start) -> None:
    locked = "mkdir -p $HOME/deep/er; chmod 0500 $HOME/deep"
    job = start(shell("main", locked), volumes={"scratch": EmptyDir("scratch")})
    assert job.wait() == 0
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]


@pytest.mark.slow
def test_the_containers_background_processes_end_with_it(start: Start) -> None:
    job = start(shell("main", "sleep 60 & exit 0"), shell("other", "sleep 1"))
    job.wait_for(lambda: bool(job.ended("main")))
    job.wait()
    assert not job.processes()


def test_a_process_that_left_its_group_and_session_is_found(start: Start) -> None:
    job = start(shell("main", "setsid sleep 60 >/dev/null 2>&1 & sleep 0.2"))
    assert job.wait() == 0
    assert not job.processes()


def test_a_killed_script_leaves_nothing(start: Start) -> None:
    job = start(shell("main", "echo up; sleep 60"))
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"up\n")
    job.process.kill()
    job.wait()
    job.wait_for(lambda: not job.processes() and not (job.folder / "tmp").exists(), 5)
    assert not (job.folder / "volumes").exists()


@pytest.mark.slow
def test_log_times_cover_the_log(start: Start) -> None:
    job = start(shell("main", "echo one; sleep 0.8; echo two"))
    began = time.time()
    assert job.wait() == 0
    notes = [line.split() for line in (job.folder / "logs" / "main.0.times").read_text().splitlines()]
    assert [int(size) for _, size in notes] == [4, 8]
    first, second = (float(when) for when, _ in notes)
    assert began - 1 < first < second - 0.4
    assert second < time.time()


def test_output_is_byte_for_byte(start: Start) -> None:
    job = start(shell("main", "printf 'a\\000b\\r\\377'; head -c 300000 /dev/zero"))
    assert job.wait() == 0
    assert job.log("main") == b"a\0b\r\xff" + b"\0" * 300_000


def test_the_folder_is_private(start: Start) -> None:
    job = start(shell("main", "true"))
    job.wait()
    modes = {path.name: path.stat().st_mode & 0o077 for path in [job.folder, *job.folder.rglob("*")]}
    assert {name for name, mode in modes.items() if mode and name not in ("job.sh", "job.log")} == set()


def test_a_folder_that_cannot_be_prepared_fails_every_container(start: Start) -> None:
    bad = Files("conf", (File("a", b""), File("a/b", b"")))  # a file cannot also be a folder
    job = start(shell("main", "true"), shell("other", "true"), volumes={"conf": bad})
    assert job.wait() == 128
    assert [(event.exit, event.cause) for name in ("main", "other") for event in job.ended(name)] == [
        (128, "runtime"),
        (128, "runtime"),
    ]
    assert "cannot prepare" in job.complaints
    assert "cannot prepare" in job.reason("other")


def test_given_files_are_byte_for_byte_and_have_their_modes(start: Start) -> None:
    modes = (0o400, 0o444, 0o644, 0o755, 0o777, 0o111)
    every = bytes(range(256)) * 2 + b"\\c\\0123'\n"
    files = tuple(File(f"deep/{mode:o}", every if mode != 0o111 else b"", mode) for mode in modes)
    look = "cd ../../volumes/conf; stat -c '%a %n' . deep deep/*; cat deep/444"
    job = start(shell("main", look), volumes={"conf": Files("conf", files)})
    assert job.wait() == 0, job.complaints
    told = "755 .\n755 deep\n" + "".join(f"{mode:o} deep/{mode:o}\n" for mode in sorted(modes, key=lambda m: f"{m:o}"))
    assert job.log("main") == told.encode() + every


def memory_folder(job: Any) -> Path:
    return Path("/dev/shm", f"flashlink-{job.pod.uid}")


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_pod_that_fills_an_empty_dir_over_its_limit_is_ended(start: Start, in_memory: bool) -> None:
    fill = "trap '' TERM; head -c 3000000 /dev/zero >$(echo ../../volumes/x)/big; while :; do sleep 0.1; done"
    volume = EmptyDir("x", in_memory=in_memory, size_limit=2 * 2**20)
    job = start(shell("main", fill), shell("other", "sleep 60"), volumes={"x": volume}, grace=60)
    assert job.wait() != 0
    assert {event.cause for name in ("main", "other") for event in job.ended(name)} == {"evicted"}
    assert job.reason("main") == job.reason("other") == 'Usage of EmptyDir volume "x" exceeds the limit "2Mi"\n'
    assert not (job.folder / "volumes").exists()
    assert not memory_folder(job).exists()


@pytest.mark.slow
def test_a_pod_that_keeps_within_its_limits_is_left_alone(start: Start) -> None:
    volume = EmptyDir("x", size_limit=2 * 2**20)
    job = start(shell("main", "head -c 1000000 /dev/zero >../../volumes/x/fits; sleep 1.5"), volumes={"x": volume})
    assert job.wait() == 0


def test_an_empty_dir_in_memory_is_private_and_goes_with_the_pod(start: Start) -> None:
    look = "echo hello >../../volumes/x/word; stat -fL -c %T ../../volumes/x; sleep 0.5"
    job = start(shell("main", look), volumes={"x": EmptyDir("x", in_memory=True), "y": EmptyDir("y", in_memory=True)})
    job.wait_for(lambda: (memory_folder(job) / "x" / "word").exists())
    assert memory_folder(job).stat().st_mode & 0o777 == 0o700
    assert job.wait() == 0
    assert job.log("main") == b"tmpfs\n"
    assert not memory_folder(job).exists()


def test_an_empty_dir_in_memory_does_not_outlive_a_killed_script(start: Start) -> None:
    job = start(shell("main", "echo up; sleep 60"), volumes={"x": EmptyDir("x", in_memory=True)})
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"up\n")
    assert memory_folder(job).exists()
    job.process.kill()
    job.wait()
    job.wait_for(lambda: not memory_folder(job).exists(), 5)


@pytest.mark.slow
def test_pods_that_are_nested_in_time_do_not_end_each_other(start: Start) -> None:
    first, second = start(shell("main", "sleep 1; echo fine")), start(shell("main", "true"))
    assert second.wait() == 0
    assert first.wait() == 0
    assert first.log("main") == b"fine\n"


def test_bash_reads_the_script_without_a_word(start: Start) -> None:
    job = start(shell("main", "true"))
    checked = subprocess.run(["bash", "-n", str(job.folder / "job.sh")], capture_output=True, check=True)
    assert checked.stderr == b""
    job.wait()


def test_a_batch_system_can_give_the_pod_another_folder(start: Start, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    look = 'echo "[${FLASHLINK_FOLDER-}]"; touch ../../volumes/x/here; ls ../../volumes/x'
    job = start(
        shell("main", look),
        volumes={"x": EmptyDir("x")},
        environment={**os.environ, "FLASHLINK_FOLDER": str(elsewhere)},
    )
    assert job.wait() == 0, job.complaints
    assert (elsewhere / "logs" / "main.0.log").read_text() == "[]\nhere\n"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["journal", "logs"]
    assert not (job.folder / "journal").exists()
