"""Job scripts that interLink's API server sends in place of the pod's containers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from flashlink.errors import SiteError
from flashlink.jobscript import journal
from flashlink.jobscript.planning import plan
from flashlink.pods.pod import Container, EmptyDir, File, Files, Pod, Resources
from flashlink.site.config import Batch, Containers, Grants, Site
from jobscript.hostpods import order

Start = Callable[..., Any]

#: A site of containers: the script is a process of the worker all the same.
SITE = Site(
    batch=Batch(system="slurm"),
    containers=Containers(runtime="apptainer"),
    grants=Grants(job_script=True, pre_exec=True),
)
MAIN = Container("main", "docker.io/library/nowhere", restart="Always")


def test_it_runs_in_place_of_the_container(start: Start) -> None:
    job = start(MAIN, site=SITE, job_script='echo "of $0\'s script"; echo errors >&2; exit 3')
    assert job.wait() == 3
    assert job.log("main").startswith(b"of ")
    assert job.log("main").endswith(b"script\nerrors\n")
    assert [(event.exit, event.cause, event.again) for event in job.ended("main")] == [(3, "exited", False)]
    assert job.complaints == ""
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]


def test_it_runs_by_the_program_that_it_names_itself(start: Start) -> None:
    job = start(MAIN, site=SITE, job_script="#!/usr/bin/env -S cat --\nmany 'quotes' \\ $HOME\n")
    assert job.wait() == 0
    assert job.log("main") == b"#!/usr/bin/env -S cat --\nmany 'quotes' \\ $HOME\n"


def test_it_has_the_environment_of_the_job_and_a_folder_of_its_own(start: Start) -> None:
    script = 'echo "$SECRET_OF_THE_JOB ${LC_ALL-unset}"; stat -c %a ..; pwd; cat "$FLASHLINK_VOLUMES/conf/key"'
    volumes = {"conf": Files("conf", (File("key", b"content\n"),)), "empty": EmptyDir("empty")}
    job = start(MAIN, site=SITE, job_script=script + '; touch "$FLASHLINK_VOLUMES/empty/x"', volumes=volumes)
    assert job.wait() == 0
    lines = job.log("main").decode().splitlines()
    assert lines == ["leak unset", "700", str(job.folder / "tmp" / "main"), "content"]


def test_all_containers_are_told_as_it_is(start: Start) -> None:
    init = (Container("first", ""), Container("second", ""))
    job = start(MAIN, Container("other", ""), init=init, site=SITE, job_script="exit 5")
    assert job.wait() == 5
    assert order(job.events) == [
        *("ended first", "ended second", "started main", "started other"),
        *("ended main", "ended other"),
    ]
    ends = {event.container: event.exit for event in job.events if isinstance(event, journal.Ended)}
    assert ends == {"first": 0, "second": 0, "main": 5, "other": 5}


def test_it_ends_with_the_pod(start: Start) -> None:
    script = "trap 'echo bye; exit 0' TERM; (trap '' TERM; sleep 300) & echo up; while :; do sleep 0.05; done"
    job = start(MAIN, site=SITE, job_script=script)
    job.wait_for(lambda: (job.folder / "logs" / "main.0.log").exists() and b"up" in job.log("main"))
    job.terminate()
    job.wait()
    assert job.log("main") == b"up\nbye\n"
    assert [event.cause for event in job.ended("main")] == ["cancelled"]
    assert job.processes() == []


def test_its_deadline_and_its_memory_are_the_pods(start: Start) -> None:
    job = start(MAIN, site=SITE, job_script="sleep 60", deadline=1, grace=1)
    job.wait()
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(143, "deadline")]
    limits = Resources(memory=16 << 20)
    greedy = "python3 -c 'import time; held = bytearray(64 << 20); time.sleep(60)'"
    job = start(replace(MAIN, limits=limits), site=SITE, job_script=greedy)
    job.wait(60)
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(137, "oom")]


def test_lines_of_pre_exec_run_before_it(start: Start) -> None:
    annotations = {"slurm-job.vk.io/pre-exec": "export FOUND=yes"}
    job = start(MAIN, site=SITE, job_script='echo "$FOUND"', annotations=annotations)
    assert job.wait() == 0
    assert job.log("main") == b"yes\n"


def test_a_site_that_does_not_grant_it_refuses_it_by_name() -> None:
    pod = Pod("uid", "p", "d", (MAIN,), job_script="true")
    with pytest.raises(SiteError) as caught:
        plan(pod, Site(containers=Containers(runtime="apptainer")), PurePosixPath("/pods/uid"))
    assert str(caught.value) == (
        "jobScript: this site runs its own job scripts only (grants.job_script); "
        "let interLink's API server make none (JobScriptTemplate, JobScriptBuilderURL)"
    )
