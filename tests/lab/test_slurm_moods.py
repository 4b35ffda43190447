"""A Slurm that answers slowly, with garbage, with half of it or not at all, and a plugin that is killed meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.clusters import Cluster
from lab.conftest import Lab
from lab.slurm_plugins import SlurmPlugin, marking, runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct")

#: Stands before each of Slurm's commands; the file `mood` says what becomes of its answer.
WRAPPER = r"""#!/bin/bash
read -r mood <"${0%/*}/mood"
case $mood in
  well) exec "/usr/bin/${0##*/}" "$@" ;;
  slow) sleep 4 && exec "/usr/bin/${0##*/}" "$@" ;;
  hanging) sleep 30 ;;
  garbage) head -c 5000 /dev/urandom ;;
  silent) exit 0 ;;
  torn) "/usr/bin/${0##*/}" "$@" | head -c 150 ;;
  away) echo "${0##*/}: error: Unable to contact slurm controller (connect failure)" >&2 && exit 1 ;;
  late)
    "/usr/bin/${0##*/}" "$@" >/dev/null
    echo "${0##*/}: error: Socket timed out on send/recv operation" >&2
    exit 1
    ;;
  talkative) echo 'Welcome to the machine' && exec "/usr/bin/${0##*/}" "$@" ;;
esac
"""
MOODS = ("slow", "hanging", "garbage", "silent", "torn", "away", "late", "talkative")

PODS, SECONDS = 12, 60.0


@pytest.fixture
def cluster(accounted_slurm: Cluster) -> Cluster:
    return accounted_slurm


@pytest.fixture
def set_mood(cluster: Cluster) -> Callable[[str], None]:
    """Changes what Slurm's commands do."""
    folder = cluster.work / "moods"
    folder.mkdir(exist_ok=True)
    for program in PROGRAMS:
        (folder / program).write_text(WRAPPER)
        (folder / program).chmod(0o755)

    def change(mood: str) -> None:
        (folder / "new").write_text(f"{mood}\n")
        (folder / "new").rename(folder / "mood")

    change("well")
    return change


@pytest.fixture
def plugin(lab: Lab, cluster: Cluster, set_mood: Callable[[str], None], marks: Path) -> Iterator[SlurmPlugin]:
    folder = cluster.work / f"plugin-{time.time_ns()}"
    folder.mkdir()
    SlurmPlugin.conf = cluster.endpoints["SLURM_CONF"]
    shell = ["env", f"PATH={cluster.work / 'moods'}:/usr/bin:/bin", "bash"]
    batch = {"system": "slurm", "options": {"command_seconds": 6, "shell": shell}}
    made = SlurmPlugin(folder, lab.user, lab.images, batch, host_paths=[str(marks)])
    yield made
    set_mood("well")
    made.end()


def test_each_pod_runs_once_and_tells_its_end_whatever_slurm_answers(
    plugin: SlurmPlugin, marks: Path, set_mood: Callable[[str], None]
) -> None:
    seed = time.time_ns()
    dice = random.Random(seed)
    pods = [marking(plugin, marks, f"pod-{code}", f"sleep {dice.randint(0, 20)}; exit {code}") for code in range(PODS)]
    waiting = list(pods)
    end = time.monotonic() + SECONDS
    while waiting or time.monotonic() < end:
        set_mood(dice.choice(MOODS))
        for _ in range(min(2, len(waiting))):
            waiting.pop().create()
        time.sleep(dice.uniform(1, 6))
        if dice.random() < 0.3:
            set_mood("well")
            time.sleep(dice.uniform(0.5, 3))
        if dice.random() < 0.2:
            plugin.kill()
            plugin.start()
    set_mood("well")

    assert [pod.end(300)["exitCode"] for pod in pods] == list(range(PODS)), f"seed {seed}"
    assert runs(marks) == Counter({f"pod-{code}": 1 for code in range(PODS)}), f"seed {seed}"
    for pod in pods:
        pod.delete()
    assert list(plugin.work.iterdir()) == []
    assert "round failed" not in plugin.log
