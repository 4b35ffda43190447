"""What `flashlink check` finds on a worker with real Apptainer."""

from __future__ import annotations

import socket
import subprocess
from pathlib import PurePosixPath

import pytest

from flashlink.jobscript.probe import findings, render
from flashlink.site.config import Containers, Images, Site, Volumes

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
        containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer"),
        images=Images(prefix="/images/"),
        volumes=Volumes(fuse="host"),
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


def test_whether_images_can_be_fetched(lab, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as registry:
        images = Images(prefix=f"docker://127.0.0.1:{registry.getsockname()[1]}/mirror/")
        site = Site(containers=Containers(runtime="apptainer"), images=images)
        assert probed(lab, tmp_path / "up", site)["outgoing traffic"].status == "ok"
    found = probed(lab, tmp_path / "down", site)["outgoing traffic"]
    assert found.status == "warning"
    assert "cannot be reached: pods have to name images that the site has" in found.message


def test_a_worker_without_apptainer_is_told_once(lab, tmp_path):
    site = Site(
        containers=Containers(runtime="apptainer", executable="/opt/apptainer"), images=Images(prefix="/cvmfs/")
    )
    found = probed(lab, tmp_path / "work", site)
    assert {subject for subject, finding in found.items() if finding.status != "ok"} == {"apptainer"}


@pytest.mark.parametrize("room", ["1m", "200m"])
def test_little_room_and_none(lab, tmp_path, room):
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room},mode=1777", "tmpfs", folder], check=True)
    try:
        site = Site(
            containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer"), images=Images(prefix="/")
        )
        found = probed(lab, folder / "work", site)
    finally:
        subprocess.run(["umount", folder], check=True)
    wrong = {subject: finding.message for subject, finding in found.items() if finding.status == "problem"}
    if room == "200m":
        assert wrong == {}
        assert found["scratch"].status == "warning"
    else:
        assert wrong.keys() == {"scratch", "apptainer"}
        assert "which no pod can run with" in wrong["scratch"]
        assert "has not been tried: a container of 10 MiB cannot be written" in wrong["apptainer"]
        assert "writable root" not in found
