"""From a create request to what the batch system takes: the pod's folder with its script, and the specification."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from flashlink.batch import JobSpec
from flashlink.errors import SiteError
from flashlink.jobscript.plan import JobPlan, Report
from flashlink.jobscript.planning import needs_mounts, plan
from flashlink.jobscript.script import render
from flashlink.plugin.reports import Reports
from flashlink.pods.parse import parse_create
from flashlink.pods.pod import Pod
from flashlink.site.config import Site
from flashlink.site.runtime import can_mount


def decide(pod: Pod, site: Site, folder: Path, report: Report | None = None) -> JobPlan:
    """Plan a pod, or say why it cannot run here.

    Args:
        pod: What was asked.
        site: Where it will run.
        folder: The pod's private folder.
        report: Where the job reports, if it may have to.

    Raises:
        RequestError: The pod is wrong.
        SiteError: The site cannot run it.
    """
    decided = plan(pod, site, PurePosixPath(folder), report)
    if needs_mounts(decided) and not can_mount():
        raise SiteError(
            f"pod {pod.namespace}/{pod.name}: host processes cannot have volumes on this machine, as it allows no "
            "mount namespaces; mount host paths at their own place, or install apptainer"
        )
    return decided


def prepare(body: bytes, site: Site, folder: Path, reports: Reports | None = None) -> JobSpec:
    """Write a pod's folder and job script; doing it again replaces the script.

    Args:
        body: The create request.
        site: Where it will run.
        folder: The pod's private folder, made with mode 0700.
        reports: Takes what the job reports; None where jobs do not.

    Raises:
        RequestError: The pod is wrong.
        SiteError: The site cannot run it.
        OSError: The folder cannot be written.
    """
    pod = parse_create(body)
    decided = decide(pod, site, folder, reports.of(pod.uid) if reports else None)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reports:
        reports.mirror(folder).prepare()
    script = folder / "job.sh"
    draft = folder / "job.sh.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700), "w") as file:
        file.write(render(decided))
    draft.replace(script)
    return specification(decided, script)


def specification(decided: JobPlan, script: Path) -> JobSpec:
    """What the batch system is told about a job."""
    return JobSpec(
        uid=decided.uid,
        name=decided.name,
        script=script,
        folder=script.parent,
        cpus=decided.resources.cpu,
        memory=decided.resources.memory,
        disk=decided.resources.ephemeral_storage,
        gpus=decided.resources.gpu,
        walltime=decided.walltime,
        grace=decided.grace,
        options=dict(decided.options),
    )


def write_grace(folder: Path, grace: int) -> None:
    """Tell the job in a pod's folder how many seconds its containers get between SIGTERM and SIGKILL.

    Raises:
        OSError: The folder cannot be written.
    """
    draft = folder / "grace.new"
    draft.write_text(f"{grace}\n", "ascii")
    draft.replace(folder / "grace")
