"""Init containers that go on beside the containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flashlink.jobscript import journal
from flashlink.pods.pod import Container
from jobscript.hostpods import order, shell

Start = Callable[..., Any]

AT_ONCE = {"FLASHLINK_BACKOFF": "0"}


def sidecar(name: str, script: str) -> Container:
    return shell(name, script, restart="Always", sidecar=True)


def waits(name: str, code: int = 0) -> Container:
    return sidecar(name, f"trap 'exit {code}' TERM; while :; do sleep 0.05; done")


def test_sidecars_start_in_order_and_end_in_reverse_after_the_containers(start: Start) -> None:
    job = start(shell("main", "sleep 0.3"), init=(waits("a"), shell("prep", "true"), waits("b")))
    assert job.wait() == 0
    assert order(job.events) == [
        *("started a", "started prep", "ended prep", "started b", "started main"),
        *("ended main", "ended b", "ended a"),
    ]
    assert [(event.cause, event.again) for event in job.ended("a")] == [("finished", False)]


def test_a_sidecar_never_decides_the_outcome(start: Start) -> None:
    job = start(shell("main", "sleep 0.2"), init=(waits("proxy", 9),))
    assert job.wait() == 0
    assert [event.exit for event in job.ended("proxy")] == [9]


def test_a_sidecar_starts_again_whatever_the_pods_policy(start: Start) -> None:
    job = start(shell("main", "sleep 20"), init=(sidecar("proxy", "exit 0"),), environment=AT_ONCE)
    job.wait_for(lambda: len(job.ended("proxy")) >= 3)
    assert {(event.exit, event.again) for event in job.ended("proxy")} == {(0, True)}
    job.terminate()
    assert job.wait() == 143


def test_a_failed_init_container_ends_the_sidecars_before_it(start: Start) -> None:
    job = start(shell("main", "true"), init=(waits("a"), shell("bad", "exit 4"), waits("b")))
    assert job.wait() == 4
    assert order(job.events) == [
        *("started a", "started bad", "ended bad", "skipped b", "skipped main", "ended a"),
    ]


def test_a_stopped_pod_ends_its_containers_first(start: Start) -> None:
    late = "trap 'sleep 0.5; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    job = start(shell("main", late), init=(waits("a"), waits("b")))
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"up\n")
    job.terminate()
    assert job.wait() == 5
    assert order(job.events)[-3:] == ["ended main", "ended b", "ended a"]
    assert not job.processes()


def test_a_pod_stopped_before_its_containers_tells_an_end_of_each(start: Start) -> None:
    job = start(shell("main", "true"), init=(waits("a"), shell("prep", "sleep 30"), waits("b")))
    job.wait_for(lambda: "started prep" in order(job.events))
    job.terminate()
    assert job.wait() == 143
    told = {event.container for event in job.events if isinstance(event, journal.Ended | journal.Skipped)}
    assert told == {"a", "prep", "b", "main"}


def test_a_sidecar_that_does_not_end_is_killed_within_the_grace(start: Start) -> None:
    job = start(shell("main", "true"), init=(sidecar("deaf", "trap '' TERM; while :; do sleep 0.05; done"),), grace=1)
    assert job.wait() == 0
    assert [(event.exit, event.cause) for event in job.ended("deaf")] == [(137, "finished")]


def test_a_killed_script_leaves_no_sidecar(start: Start) -> None:
    job = start(shell("main", "echo up; sleep 60"), init=(waits("a"),))
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and job.log("main") == b"up\n")
    job.process.kill()
    job.wait()
    job.wait_for(lambda: not job.processes(), 5)
    job.wait_for(lambda: not (job.folder / "tmp").exists(), 5)
