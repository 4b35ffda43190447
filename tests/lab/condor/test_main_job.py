"""The main job on HTCondor: every step a pod, in containers at the workers of a pool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[3]

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CONFIGURATION = "{events: 400, chunk: 200, training_events: 600, seed: 7}"

SITE = """
name = "farm"
work = "{shared}/work"

[batch]
system = "htcondor"
poll_seconds = 1

[containers]
runtime = "apptainer"
executable = "/usr/bin/apptainer"

[images]
folders = ["{shared}"]
aliases = {{ flashlink = "{image}" }}

[volumes]
host_paths = ["{shared}"]
"""


@pytest.fixture
def clone(condor: Any, shared: Path) -> Path:
    """The files of the checkout in a folder that workers see and the plain user owns."""
    clone = shared / "flashlink"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, clone / name)
    (clone / "small.yaml").write_text(CONFIGURATION)
    for path in (clone, *clone.rglob("*")):
        os.chown(path, condor.user, condor.user)
    return clone


@pytest.fixture
def image(lab: Any, clone: Path, shared: Path) -> Path:
    """The image of the run's pods, which is kept in the lab, where workers see it."""
    kept = Path(os.environ.get("FLASHLINK_LAB", CHECKOUT / ".lab")) / "built"
    kept.mkdir(exist_ok=True)
    lab.give(kept)
    command = lab.command("env", f"FLASHLINK_IMAGES={kept}", clone / "deploy" / "images" / "build", bind=[shared, kept])
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert built.returncode == 0, built.stderr
    image = Path(built.stdout.splitlines()[-1])
    os.link(image, shared / image.name)
    return shared / image.name


def test_the_main_job_runs_at_a_pool(lab: Any, condor: Any, clone: Path, image: Path, shared: Path) -> None:
    (shared / "site.toml").write_text(SITE.format(shared=shared, image=image))
    script = f"cd {clone} && ./run --config small.yaml --site {shared}/site.toml"
    configuration = "CONDOR_CONFIG=/var/lib/condor/site/condor_config"
    command = lab.command("env", configuration, "bash", "-c", script, bind=[condor.shared])
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert run.returncode == 0, run.stdout + run.stderr
    results = clone / "results"
    assert (results / "report.html").stat().st_size > 100_000
    records = [json.loads(path.read_text()) for path in (results / "records").rglob("*.json")]
    assert {record["site"] for record in records} == {"farm"}
    pods = {record["pod"] for record in records}
    assert {name: code for name, code in exit_codes(condor).items() if name in pods} == dict.fromkeys(pods, "0")


def exit_codes(condor: Any) -> dict[str, str]:
    """Name of each job to its exit code. The queue comes first: who leaves it after that is in the history by then."""
    queue = condor.run("site", "condor_q", "-allusers", "-af", "JobBatchName", "ExitCode")
    history = condor.run("site", "condor_history", "-af", "JobBatchName", "ExitCode")
    return dict(line.split() for line in (queue + history).splitlines())
