"""What `flashlink check` finds on a worker with real Apptainer."""

from __future__ import annotations

import subprocess
from pathlib import PurePosixPath

import pytest

from flashlink.jobscript.probe import findings, render
from flashlink.site.config import Containers, Site, Volumes

pytestmark = pytest.mark.lab


def probed(lab, folder, site):
    folder.mkdir(mode=0o700)
    lab.give(folder)
    command = lab.command("bash", "-s", bind=[folder])
    script = render(site, PurePosixPath(folder))
    ran = subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stderr == ""
    assert list(folder.iterdir()) == []
    return {finding.subject: finding for finding in findings(ran.stdout)}


def test_a_worker_that_runs_containers(lab, tmp_path):
    site = Site(
        containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer"), volumes=Volumes(fuse="host")
    )
    found = probed(lab, tmp_path / "work it's", site)
    assert {finding.status for finding in found.values()} == {"ok"}, found
    assert {"apptainer", "writable root", "SIF images", "FUSE"} <= set(found)


def test_options_that_no_container_takes(lab, tmp_path):
    site = Site(containers=Containers(runtime="apptainer", options=["--no-such-option"], root="read-only"))
    found = probed(lab, tmp_path / "work", site)
    assert found["apptainer"].status == "problem"
    assert "no-such-option" in found["apptainer"].message
    assert "writable root" not in found
