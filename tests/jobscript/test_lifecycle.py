"""Hooks and the signal by which a container is ended, of host processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flashlink.jobscript import journal
from flashlink.pods.probes import Exec, Handler, HttpGet, Life, Probe, Sleep
from jobscript.hostpods import order, shell

Start = Callable[..., Any]

AT_ONCE = {"FLASHLINK_BACKOFF": "0"}
TIDY = "trap 'echo ending; exit 0' TERM; echo up; while :; do sleep 0.05; done"


def sh(script: str) -> Exec:
    return Exec(("sh", "-c", script))


def is_up(job: Any) -> bool:
    return (job.folder / "logs" / "main.0.log").exists() and job.log("main").startswith(b"up\n")


def test_post_start_runs_in_the_container_and_makes_it_ready(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    hook = sh(f"while [ ! -e {flag} ]; do sleep 0.05; done; touch {tmp_path}/done")
    job = start(shell("main", TIDY, life=Life(post_start=hook)))
    job.wait_for(lambda: is_up(job))
    assert [event.ready for event in job.events if isinstance(event, journal.Started | journal.Ready)] == [False]
    flag.touch()
    job.wait_for(lambda: any(isinstance(event, journal.Ready) for event in job.events))
    assert (tmp_path / "done").exists()
    job.terminate()
    assert job.wait() == 0


def test_probes_begin_when_post_start_is_done(start: Start, tmp_path: Path) -> None:
    life = Life(
        post_start=sh(f"sleep 0.5; touch {tmp_path}/done"), liveness=Probe(sh(f"test -e {tmp_path}/done"), failures=1)
    )
    job = start(shell("main", "sleep 1.5", life=life))
    assert job.wait() == 0
    assert [event.cause for event in job.ended("main")] == ["exited"]


def test_a_post_start_that_fails_ends_the_container(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "well"
    hook = sh(f"test -e {flag} || {{ touch {flag}; echo no; exit 2; }}")
    main = "trap 'exit 1' TERM; echo up; while :; do sleep 0.05; done"
    job = start(shell("main", main, life=Life(post_start=hook)), restart_policy="OnFailure", environment=AT_ONCE)
    job.wait_for(lambda: any(isinstance(event, journal.Ready) for event in job.events))
    assert [(event.cause, event.again) for event in job.ended("main")] == [("hook", True)]
    assert job.reason("main") == "its postStart hook failed: exit code 2: no\n"
    job.terminate()
    job.wait()


def test_a_sidecar_has_started_when_post_start_is_done(start: Start, tmp_path: Path) -> None:
    proxy = shell(
        "proxy", TIDY, life=Life(post_start=sh(f"sleep 0.3; touch {tmp_path}/done")), restart="Always", sidecar=True
    )
    job = start(shell("main", f"test -e {tmp_path}/done"), init=(proxy,))
    assert job.wait() == 0


def test_pre_stop_runs_before_the_signal(start: Start, tmp_path: Path) -> None:
    hook = sh(f"sleep 0.3; cp ../../logs/main.0.log {tmp_path}/then")
    job = start(shell("main", TIDY, life=Life(pre_stop=hook)))
    job.wait_for(lambda: is_up(job))
    job.terminate()
    assert job.wait() == 0
    assert (tmp_path / "then").read_bytes() == b"up\n"
    assert job.log("main") == b"up\nending\n"
    assert job.complaints == ""


def test_pre_stop_does_not_run_when_the_container_ends_by_itself(start: Start, tmp_path: Path) -> None:
    job = start(shell("main", "exit 3", life=Life(pre_stop=sh(f"touch {tmp_path}/no"))))
    assert job.wait() == 3
    assert not (tmp_path / "no").exists()


def test_pre_stop_runs_when_a_probe_ends_the_container(start: Start, tmp_path: Path) -> None:
    life = Life(pre_stop=sh(f"touch {tmp_path}/yes"), liveness=Probe(sh("exit 1"), period=1, failures=1))
    job = start(shell("main", TIDY, life=life))
    assert job.wait() == 0
    assert (tmp_path / "yes").exists()


@pytest.mark.parametrize(
    ("hook", "said"), [(sh("sleep 60 & sleep 61"), "did not end within the grace"), (Sleep(60), "did not")]
)
def test_pre_stop_ends_with_the_grace(start: Start, hook: Handler, said: str) -> None:
    job = start(shell("main", TIDY, life=Life(pre_stop=hook)), grace=1)
    job.wait_for(lambda: is_up(job))
    job.terminate()
    assert job.wait() == 0  # two seconds are left to it in any case
    assert job.log("main") == b"up\nending\n"
    assert said in job.complaints
    assert not job.processes()


@pytest.mark.parametrize("hook", [sh("echo why; exit 4"), HttpGet(9, "/"), Exec(("no-such-program",))])
def test_a_pre_stop_that_fails_stops_nothing(start: Start, hook: Handler) -> None:
    job = start(shell("main", TIDY, life=Life(pre_stop=hook)))
    job.wait_for(lambda: is_up(job))
    job.terminate()
    assert job.wait() == 0
    assert "container main: its preStop hook failed: " in job.complaints


def test_a_pause_before_the_signal(start: Start) -> None:
    job = start(
        shell(
            "main", "trap 'date +%s; exit 0' TERM; echo up; while :; do sleep 0.05; done", life=Life(pre_stop=Sleep(2))
        )
    )
    job.wait_for(lambda: is_up(job))
    assert job.process.poll() is None
    job.terminate()
    assert job.wait() == 0
    assert job.complaints == ""


def test_a_delete_without_grace_has_no_pre_stop(start: Start, tmp_path: Path) -> None:
    job = start(shell("main", TIDY, life=Life(pre_stop=sh(f"touch {tmp_path}/no"))), grace=600)
    job.wait_for(lambda: is_up(job))
    (job.folder / "grace").write_text("0\n")
    job.terminate()
    assert job.wait() in (0, 137)
    assert not (tmp_path / "no").exists()


def test_a_deleted_pod_does_not_wait_for_the_end_that_a_probe_has_begun(start: Start) -> None:
    life = Life(pre_stop=Sleep(600), liveness=Probe(sh("exit 1"), period=1, failures=1))
    job = start(shell("main", TIDY, life=life), grace=600)
    job.wait_for(lambda: (job.folder / "logs" / "main.0.reason").exists())
    (job.folder / "grace").write_text("0\n")
    job.terminate()
    assert job.wait() in (0, 137)
    assert [event.cause for event in job.ended("main")] == ["cancelled"]
    assert not job.processes()


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGQUIT", "SIGRTMIN+3"])
def test_the_stop_signal_is_the_containers(start: Start, name: str) -> None:
    short = name.removeprefix("SIG")
    script = f"trap 'echo got; exit 7' {short}; echo up; while :; do sleep 0.05; done"
    main = shell("main", "", life=Life(stop_signal=name))
    job = start(replace(main, command=("bash", "-c", script)))
    job.wait_for(lambda: is_up(job))
    job.terminate()
    assert job.wait() == 7
    assert job.log("main") == b"up\ngot\n"


def test_sidecars_have_hooks_too(start: Start, tmp_path: Path) -> None:
    hook = sh(f"echo pre-stop >>{tmp_path}/order")
    script = f"trap 'echo signal >>{tmp_path}/order; exit 0' TERM; while :; do sleep 0.05; done"
    proxy = shell("proxy", script, life=Life(pre_stop=hook), restart="Always", sidecar=True)
    job = start(shell("main", f"sleep 0.3; echo main >>{tmp_path}/order"), init=(proxy,))
    assert job.wait() == 0
    assert (tmp_path / "order").read_text().split() == ["main", "pre-stop", "signal"]
    assert order(job.events)[-1] == "ended proxy"
