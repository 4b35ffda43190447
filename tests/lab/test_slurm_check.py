"""``flashlink check`` at a Slurm site: what an administrator reads where all is well, and where one thing is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clusters import CHECKOUT, Cluster

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SPOOL = "/var/tmp/flashlink-check"

FLAVOURS = [
    {"name": "serial", "partition": "cpu", "cpus": 4, "memory_mb": 4000, "walltime_seconds": 3600},
    {"name": "booster", "partition": "booster", "min_gpus": 1, "gpus": 2, "walltime_seconds": 7200},
]

Check = Callable[..., dict[str, Any]]


@pytest.fixture
def cluster(accounted_slurm: Cluster) -> Cluster:
    return accounted_slurm


@pytest.fixture
def check(cluster: Cluster, tmp_path: Path) -> Check:
    """Findings by subject of a check on this machine, outside of the lab, or in it."""

    def look(
        options: dict[str, Any], *, inside: bool = False, executable: str = "/usr/bin/apptainer"
    ) -> dict[str, Any]:
        folder = cluster.work / f"check-{time.time_ns()}" if inside else tmp_path
        folder.mkdir(exist_ok=True)
        site = {
            "state": str(folder / "state"),
            "batch": {"system": "slurm", "options": options},
            "containers": {"runtime": "apptainer", "executable": executable},
            "images": {"prefix": "/images/"},
            "limits": {"memory": "64Mi"},
        }
        file = folder / "site.json"
        file.write_text(json.dumps(site))
        command = [sys.executable, "-m", "flashlink", "check", "--json", "--wait", "90", "--site", str(file)]
        if inside:
            cluster.give(folder, file)
            seen = [word for path in (cluster.folder, sys.base_prefix) for word in ("--bind", str(path))]
            conf = f"SLURM_CONF={cluster.endpoints['SLURM_CONF']}"
            command = [str(CHECKOUT / "lab" / "enter"), *seen, "env", conf, *command]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        found = {each["subject"]: each for each in json.loads(told.stdout)}
        assert told.returncode == any(each["status"] == "problem" for each in found.values()), told.stdout + told.stderr
        assert cluster.run("bash", "-c", f"ls {SPOOL} 2>/dev/null | wc -l").strip() == "0"
        assert list((folder / "state" / "work").iterdir()) == []
        return found

    return look


@pytest.fixture
def far(cluster: Cluster) -> dict[str, Any]:
    """Options of a site of which there is a login node alone."""
    return {**cluster.login, "spool": SPOOL}


@pytest.fixture
def socket(cluster: Cluster) -> Iterator[str]:
    """The address of a slurmrestd of the plain user, which needs no token."""
    path = cluster.work / "slurmrestd.socket"
    run = f'exec /usr/sbin/slurmrestd -a rest_auth/local "unix:{path}"'
    with subprocess.Popen([cluster.endpoints["SHELL_COMMAND"], "-c", run], stderr=subprocess.DEVNULL) as daemon:
        limit = time.monotonic() + 30
        while not path.is_socket():
            assert time.monotonic() < limit
            time.sleep(0.1)
        yield f"unix:{path}"
        daemon.terminate()
    path.unlink(missing_ok=True)


def wrong(found: dict[str, Any]) -> dict[str, str]:
    """What is not as it should be."""
    return {subject: each["message"] for subject, each in found.items() if each["status"] != "ok"}


def test_by_the_login_node_each_flavour_is_looked_at(check: Check, far: dict[str, Any]) -> None:
    found = check({**far, "flavours": FLAVOURS})
    assert wrong(found) == {}
    assert "on the login node lab@127.0.0.1" in found["Slurm's commands"]["message"]
    assert found["flavour booster"]["message"] == "partition booster takes the most that it allows"
    assert {"spool", "serial: apptainer", "booster: apptainer", "booster: writable root"} <= found.keys()
    assert found["booster: scratch"]["message"].startswith(SPOOL)


def test_by_slurmrestd_at_a_socket(check: Check, socket: str) -> None:
    found = check({"rest": socket}, inside=True)
    assert wrong(found) == {}
    assert "answers for cluster lab in version v0.0.4" in found["slurmrestd"]["message"]
    assert "token" not in found


def test_by_slurmrestd_with_a_token_and_spool(
    check: Check, cluster: Cluster, far: dict[str, Any], tmp_path: Path
) -> None:
    options = {**cluster.rest(tmp_path), **far}
    found = check({**options, "shell": ["bash"]})
    assert wrong(found) == {}
    assert " holds one of lab that is good until " in found["token"]["message"]
    Path(options["token_file"]).write_text(cluster.run("scontrol", "token", "lifespan=1"))
    time.sleep(2)
    found = check({**options, "shell": ["bash"]})
    assert wrong(found).keys() == {"token", "batch system slurm"}
    assert "has expired on" in found["token"]["message"]


def test_limits_and_partitions_that_slurm_does_not_have(check: Check, far: dict[str, Any]) -> None:
    large = {**FLAVOURS[0], "cpus": 64}
    misspelt = {**FLAVOURS[1], "partition": "boster"}
    found = check({**far, "flavours": [large, misspelt]})
    assert wrong(found).keys() == {"flavour serial", "flavour booster", "booster: job on a worker"}
    assert found["serial: worker"]["status"] == "ok"
    assert "partition boster refuses" in found["flavour booster"]["message"]


def test_a_worker_without_apptainer(check: Check, far: dict[str, Any]) -> None:
    found = wrong(check(far, executable="/opt/apptainer/bin/apptainer"))
    assert found.keys() == {"apptainer"}
    assert found["apptainer"].startswith("there is no program /opt/apptainer/bin/apptainer")


def test_a_prologue_that_fails_is_quoted(check: Check, far: dict[str, Any]) -> None:
    found = wrong(check({**far, "prologue": ["module load apptainer || exit 3"]}))
    assert found.keys() == {"job on a worker"}
    assert "its exit code is 3; it said: " in found["job on a worker"]
    assert found["job on a worker"].endswith("module: command not found")


def test_a_login_node_that_is_down(check: Check, far: dict[str, Any], cluster: Cluster) -> None:
    cluster.cut_login()
    try:
        found = wrong(check(far))
    finally:
        cluster.start()
    assert found.keys() == {"batch system slurm"}
    assert "the login node lab@127.0.0.1: " in found["batch system slurm"]
