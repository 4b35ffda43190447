"""Whether containers start again, and when."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flashlink.pods.pod import RestartRule
from jobscript.hostpods import order, shell

Start = Callable[..., Any]

AT_ONCE = {"FLASHLINK_BACKOFF": "0"}


def test_on_failure_starts_again_until_success(start: Start, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f'echo x >>{count}; echo try; [ "$(wc -l <{count})" -ge 3 ]'
    job = start(shell("main", script), restart_policy="OnFailure", environment=AT_ONCE)
    assert job.wait() == 0
    assert [(event.instance, event.exit) for event in job.ended("main")] == [(0, 1), (1, 1), (2, 0)]
    assert job.log("main", 2) == b"try\n"


def test_always_starts_again_after_success_until_it_is_cancelled(start: Start) -> None:
    job = start(shell("main", "true"), restart_policy="Always", environment=AT_ONCE)
    job.wait_for(lambda: len(job.ended("main")) >= 3)
    job.terminate()
    job.wait()
    assert order(job.events)[-1] == "ended main"


def test_init_containers_succeed_once_even_under_always(start: Start) -> None:
    job = start(
        shell("main", "sleep 20"),
        init=(shell("prep", "true"),),
        restart_policy="Always",
        environment=AT_ONCE,
    )
    job.wait_for(lambda: "started main" in order(job.events))
    job.terminate()
    assert job.wait() == 143
    assert len(job.ended("prep")) == 1


def test_back_off_can_be_interrupted(start: Start) -> None:
    job = start(shell("main", "exit 2"), restart_policy="OnFailure")
    job.wait_for(lambda: len(job.ended("main")) == 2)  # it starts again at once after the first end
    assert [event.again for event in job.ended("main")] == [True, True]
    job.terminate()
    assert job.wait(8) == 2


def test_a_containers_own_policy_stands_over_the_pods(start: Start, tmp_path: Path) -> None:
    again = shell("again", f"[ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; exit 1; }}", restart="OnFailure")
    job = start(again, shell("once", "exit 3", restart="Never"), restart_policy="OnFailure", environment=AT_ONCE)
    assert job.wait() == 3
    assert [event.exit for event in job.ended("again")] == [1, 0]
    assert [event.exit for event in job.ended("once")] == [3]


@pytest.mark.parametrize(
    ("rules", "codes"),
    [
        ([RestartRule((7, 8))], [7, 8, 9]),
        ([RestartRule((70, 80))], [7]),
        ([RestartRule((9,), inside=False)], [7, 8, 9]),
        ([RestartRule((), inside=False), RestartRule((7,))], [7, 8, 9, 10]),
    ],
)
def test_rules_come_before_the_policy(start: Start, tmp_path: Path, rules: list[RestartRule], codes: list[int]) -> None:
    count = tmp_path / "count"
    script = f"echo x >>{count}; n=$((6 + $(wc -l <{count}))); [ $n -lt 11 ] || sleep 30; exit $n"
    job = start(shell("main", script, restart="Never", restart_rules=tuple(rules)), environment=AT_ONCE)
    job.wait_for(lambda: [event.exit for event in job.ended("main")] == codes)
    if codes[-1] == 10:
        job.terminate()
    job.wait()


def test_the_pause_doubles_after_the_first_restart(start: Start) -> None:
    job = start(shell("main", "exit 1"), restart_policy="Always", environment={"FLASHLINK_BACKOFF": "1"})
    job.wait_for(lambda: len(job.ended("main")) >= 4, 20)
    job.terminate()
    job.wait()
    ends = [event.time for event in job.ended("main")]
    pauses = [later - earlier for earlier, later in itertools.pairwise(ends)]
    # Whole seconds of bash: a pause may be shorter by up to one.
    assert pauses[1] > 0.05
    assert pauses[2] > 1


def test_a_job_that_is_started_anew_counts_on(start: Start) -> None:
    job = start(shell("main", "echo words; exit 3"))
    assert job.wait() == 3
    assert subprocess.run(["bash", job.folder / "job.sh"], stdin=subprocess.DEVNULL, check=False).returncode == 3
    assert [event.instance for event in job.ended("main")] == [0, 1]
    assert job.log("main", 0) == job.log("main", 1) == b"words\n"
