from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from flashlink.errors import SiteError
from flashlink.site.config import Batch, Containers, Site
from flashlink.site.runtime import can_mount, host_mode_notice, resolve


def program(folder: Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH is one empty folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_without_a_runtime_the_local_site_runs_host_processes_and_says_so(nothing_installed: Path) -> None:
    site = resolve(Site())
    assert site.containers.runtime == "host"
    notice = host_mode_notice(site)
    assert "pods run as host processes, without images" in notice
    assert "\n" not in notice


@pytest.mark.parametrize("name", ["apptainer", "singularity"])
def test_what_is_installed_is_taken(nothing_installed: Path, name: str) -> None:
    path = program(nothing_installed, name)
    site = resolve(Site())
    assert (site.containers.runtime, site.containers.executable) == (name, path)
    assert host_mode_notice(site) == ""


def test_apptainer_goes_before_singularity(nothing_installed: Path) -> None:
    program(nothing_installed, "singularity")
    program(nothing_installed, "apptainer")
    assert resolve(Site()).containers.runtime == "apptainer"


def test_a_given_executable(nothing_installed: Path, tmp_path: Path) -> None:
    path = program(tmp_path / "opt", "singularity-ce")
    site = resolve(Site(containers=Containers(executable=path)))
    assert (site.containers.runtime, site.containers.executable) == ("singularity", path)


@pytest.mark.parametrize(
    ("containers", "name"),
    [
        (Containers(runtime="apptainer"), "apptainer"),
        (Containers(executable="/no/such/apptainer"), "/no/such/apptainer"),
    ],
)
def test_a_missing_executable_never_becomes_host_mode(
    nothing_installed: Path, containers: Containers, name: str
) -> None:
    with pytest.raises(SiteError, match=f"there is no program '{name}' on this machine; install it"):
        resolve(Site(containers=containers))


@pytest.mark.parametrize("runtime", ["auto", "host"])
def test_no_other_batch_system_runs_host_processes(runtime: str) -> None:
    site = Site(batch=Batch(system="slurm"), containers=Containers(runtime=runtime))  # type: ignore[arg-type]
    with pytest.raises(SiteError, match="is for the local batch system alone; say apptainer or singularity for slurm"):
        resolve(site)


def test_other_systems_find_the_executable_on_their_workers(nothing_installed: Path) -> None:
    site = resolve(Site(batch=Batch(system="slurm"), containers=Containers(runtime="apptainer")))
    assert site.containers.executable == "apptainer"


def test_can_mount_is_true_only_where_a_mount_works() -> None:
    identity = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--mount", *identity, "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    assert can_mount() is (subprocess.run(command, capture_output=True, check=False).returncode == 0)


def test_without_unshare_there_are_no_mounts(nothing_installed: Path) -> None:
    can_mount.cache_clear()
    try:
        assert can_mount() is False
    finally:
        can_mount.cache_clear()
