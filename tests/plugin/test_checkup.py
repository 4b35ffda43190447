"""`flashlink check` on this machine, as it is and with what is wrong at sites."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from flashlink import batch
from flashlink.batch import JobSpec, JobState, JobStatus
from flashlink.batch.local import LocalBatch
from flashlink.finding import Finding
from flashlink.jobscript.probe import findings
from flashlink.plugin import probing
from flashlink.plugin.checkup import checkup
from flashlink.site.config import Batch, Containers, Images, Limits, Reports, Site, Volumes


def look(site: Site, patience: float = 60) -> dict[str, Finding]:
    return {finding.subject: finding for finding in checkup(site, patience, lambda line: None)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(state=str(tmp_path / "state"), containers=Containers(runtime="host"))


def changed(site: Site, **fields: object) -> Site:
    return Site(**{name: getattr(site, name) for name in site.__struct_fields__} | fields)


def test_a_site_that_works(site: Site) -> None:
    found = look(site)
    assert {finding.status for subject, finding in found.items() if subject != "containers"} == {"ok"}
    assert {"state", "work", "batch system local", "worker", "bash", "coreutils", "scratch"} <= set(found)
    assert os.uname().nodename.partition(".")[0] in found["worker"].message
    assert not list((Path(site.state) / "work").iterdir())
    assert not list(Path(site.state).glob("check-*"))


def test_folders_that_pods_are_granted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "cvmfs" / "lhcb.cern.ch").mkdir(parents=True)
    grants = Volumes(
        host_paths=[str(tmp_path / "data")], claims={"scratch": str(tmp_path / "no")}, cvmfs=str(tmp_path / "cvmfs")
    )
    found = look(changed(site, volumes=grants, images=Images(folders=[str(tmp_path / "it's $HOME")])))
    assert found["hostPath"].status == "ok"
    assert found["claim scratch"].status == "problem"
    assert found["images.folders"].message == f"{tmp_path}/it's $HOME is no folder of this worker"
    assert found["CVMFS"].status == "ok"
    assert "1 repositories" in found["CVMFS"].message


def test_a_worker_without_apptainer(site: Site, tmp_path: Path) -> None:
    found = look(changed(site, containers=Containers(runtime="apptainer", executable=str(tmp_path / "apptainer"))), 0)
    assert found["containers"].status == "problem"
    assert "there is no program" in found["containers"].message


class FakeFullSite(LocalBatch):
    """A fake in one thing: whatever the embedded system does, jobs are told to wait."""

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        return dict.fromkeys(job_ids, JobStatus(JobState.QUEUED, reason="all cores are taken"))


def test_a_job_that_does_not_get_its_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "load", lambda name: FakeFullSite)
    message = look(site, 0.01)["job on a worker"].message
    assert message == "is queued after 0 s: all cores are taken; give --wait more, or look at the queue"


def test_a_job_that_the_site_refuses(site: Site) -> None:
    found = look(changed(site, batch=Batch(cpus=1), limits=Limits(cpu=2)))["job on a worker"]
    assert found.status == "problem"
    assert found.message.startswith("was refused: flashlink-check asks for 2 cores")


class FakeCluster(LocalBatch):
    """A fake in one thing: the embedded system has two kinds of workers, and something to say of itself."""

    def examine(self, probe: JobSpec) -> Iterator[Finding]:
        yield Finding("warning", "credentials", f"they end soon; a job of {probe.cpus:g} core waits for that")

    def kinds(self, probe: JobSpec) -> dict[str, JobSpec]:
        return {"small": probe, "large": replace(probe, cpus=64)}


def test_each_kind_of_workers_is_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "load", lambda name: FakeCluster)
    found = look(changed(site, batch=Batch(cpus=2)))
    assert found["credentials"] == Finding("warning", "credentials", "they end soon; a job of 1 core waits for that")
    assert found["small: scratch"].status == "ok"
    assert found["large: job on a worker"].status == "problem"
    assert found["large: job on a worker"].message.startswith("was refused: flashlink-check asks for 64 cores")
    assert not list((Path(site.state) / "work").iterdir())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo module: command not found; exit 3", "its exit code is 3; it said: module: command not found"),
        ("exit 4", "its exit code is 4; it said: nothing"),
        ("rm job.log; exit 5", "its exit code is 5; it left no output: is 'work' shared?"),
    ],
)
def test_a_job_that_does_not_look(site: Site, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.setattr(probing, "render", lambda site, folder, report: f"#!/bin/bash\ncd '{folder}'\n{script}\n")
    assert look(site)["job on a worker"].message == f"ended without a look: {message}"


class FakeSlow(FakeFullSite):
    """Says that jobs wait until they are cancelled; notes what is forgotten."""

    gone: ClassVar[list[str]] = []
    cancelled = False

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        return LocalBatch.query(self, job_ids) if self.cancelled else super().query(job_ids)

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        self.cancelled = True
        super().cancel(job_ids, grace)

    def forget(self, job_ids: Sequence[str]) -> None:
        self.gone.extend(job_ids)
        super().forget(job_ids)


def test_a_job_that_was_given_up_is_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "load", lambda name: FakeSlow)
    look(site, 0.01)
    assert len(FakeSlow.gone) == 1


def test_a_batch_system_that_is_none(site: Site) -> None:
    found = look(changed(site, batch=Batch(system="nonsense"), containers=Containers(runtime="apptainer")))
    assert found["batch system nonsense"].status == "problem"
    assert "local" in found["batch system nonsense"].message


def test_a_state_that_others_can_read(site: Site) -> None:
    Path(site.state).mkdir(mode=0o755)
    assert look(site, 0)["state"].message.endswith("chmod 700 it")


@pytest.mark.parametrize(("days", "status"), [(365, "ok"), (3, "warning")])
def test_the_certificate_of_reports(site: Site, tmp_path: Path, days: int, status: str) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(days))
    command = ["openssl", "req", "-x509", *kind, "-subj", "/CN=plugin", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    reports = Reports("127.0.0.1:9", "https://127.0.0.1:9", str(certificate), str(key))
    found = look(changed(site, reports=reports))
    assert found["certificate"].status == status
    assert found["reports"].status == "warning"  # nobody listens there
    key.write_text("nonsense")
    assert look(changed(site, reports=reports), 0)["certificate"].status == "problem"


def test_only_lines_of_the_form_are_findings() -> None:
    output = "noise\nok\tbash\t5.2\nstrange\ta\tb\nok\ta\nproblem\tx\ty\tz\nwarning\tFUSE\tnone\n"
    assert findings(output) == [Finding("ok", "bash", "5.2"), Finding("warning", "FUSE", "none")]


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        f'state = "{tmp_path}/state"\n[containers]\nruntime = "host"\n[volumes]\nclaims = {{ x = "/no/such" }}\n'
    )
    command = [sys.executable, "-m", "flashlink", "check", "--site", str(file)]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert {"status": "problem", "subject": "claim x"}.items() <= json.loads(told.stdout)[-1].items()
    file.write_text("[volumes]\nclaim = {}\n")
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert "did you mean 'claims'?" in told.stderr
