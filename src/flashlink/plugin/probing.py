"""Jobs that look at workers with a pod's eyes: one, or one on each kind of workers that the batch system knows."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from flashlink.batch import BatchSystem, Examinable, JobSpec, JobState, JobStatus
from flashlink.errors import SiteError
from flashlink.finding import Finding
from flashlink.jobscript.plan import Report
from flashlink.jobscript.probe import findings, render
from flashlink.pods import quantity
from flashlink.site.config import Site
from flashlink.site.load import work_folder

#: Seconds between two questions about the jobs, that a job may take, and that one that was cancelled gets to end.
PAUSE, WALLTIME, LAST = 0.5, 300, 30.0

#: Characters of a job's output that are shown where it is not what was expected.
SHOWN = 300

_FINAL = (JobState.ENDED, JobState.LOST)


def sample(site: Site) -> JobSpec:
    """A job as small as the pods that ask for nothing."""
    memory = quantity.size(site.limits.memory, "limits.memory")
    nowhere = work_folder(site) / "flashlink-check"
    return JobSpec(
        str(uuid.uuid4()), "flashlink-check", nowhere / "job.sh", nowhere, site.limits.cpu, memory, walltime=WALLTIME
    )


def probe(
    system: BatchSystem, site: Site, report: Report | None, patience: float, told: Callable[[str], None]
) -> Iterator[Finding]:
    """Send the jobs, and read what they found.

    Args:
        system: Takes them.
        site: After `flashlink.site.runtime.resolve`.
        report: Where jobs report, if they do.
        patience: Seconds that all of them may take, their time in the queue included.
        told: Called with a line that says what is being waited for.
    """
    kinds = dict(system.kinds(sample(site))) if isinstance(system, Examinable) else {}
    specs = {name: _written(spec, site, report) for name, spec in (kinds or {"": sample(site)}).items()}
    try:
        told("a job looks at a worker" if len(specs) == 1 else f"jobs look at workers: {', '.join(specs)}")
        for name, spec, status in _ended(system, specs, patience):
            prefix = f"{name}: " if len(specs) > 1 else ""
            found = [status] if isinstance(status, Finding) else _read(spec.folder / "job.log", status)
            yield from (replace(each, subject=prefix + each.subject) for each in found)
    finally:
        for spec in specs.values():
            shutil.rmtree(spec.folder, ignore_errors=True)


def _written(spec: JobSpec, site: Site, report: Report | None) -> JobSpec:
    """The job with a uid, a folder and a script of its own."""
    uid = str(uuid.uuid4())
    folder = work_folder(site) / f"check-{uid}"
    folder.mkdir(mode=0o700)
    script = folder / "job.sh"
    script.write_text(render(site, PurePosixPath(folder), report), "utf-8")
    script.chmod(0o700)
    return replace(spec, uid=uid, folder=folder, script=script)


def _ended(
    system: BatchSystem, specs: Mapping[str, JobSpec], patience: float
) -> Iterator[tuple[str, JobSpec, JobStatus | Finding]]:
    """Each job as it ends; with a finding in place of its status if it does not run."""
    waiting: dict[str, str] = {}
    for (name, spec), outcome in zip(specs.items(), system.submit(list(specs.values())), strict=True):
        if isinstance(outcome, SiteError):
            yield name, spec, Finding("problem", "job on a worker", f"was refused: {outcome}")
        else:
            waiting[outcome] = name
    limit = time.monotonic() + patience
    while waiting:
        statuses = system.query(list(waiting))
        over = [job_id for job_id, status in statuses.items() if status.state in _FINAL]
        for job_id in over:
            name = waiting.pop(job_id)
            yield name, specs[name], statuses[job_id]
        system.forget(over)
        if waiting and time.monotonic() > limit:
            for job_id, name in waiting.items():
                yield name, specs[name], _late(statuses[job_id], patience)
            _give_up(system, list(waiting))
            return
        if waiting:
            time.sleep(PAUSE)


def _late(status: JobStatus, patience: float) -> Finding:
    why = f": {status.reason}" if status.reason else ""
    waited = f"is {status.state.value} after {patience:.0f} s{why}; give --wait more, or look at the queue"
    return Finding("problem", "job on a worker", waited)


def _give_up(system: BatchSystem, job_ids: list[str]) -> None:
    """End jobs, and leave nothing of them at the site."""
    system.cancel(job_ids, 0)
    limit = time.monotonic() + LAST
    while any(status.state not in _FINAL for status in system.query(job_ids).values()) and time.monotonic() < limit:
        time.sleep(PAUSE)
    system.forget(job_ids)


def _read(log: Path, status: JobStatus) -> list[Finding]:
    """What a job that has ended has found; why it has found nothing."""
    said = log.read_text("utf-8", "replace") if log.exists() else None
    if found := findings(said or ""):
        return found
    why = status.reason or f"its exit code is {status.exit_code}"
    if said is None:
        left = "it left no output: is 'work' shared?"
    else:
        left = f"it said: {' '.join(said.split())[-SHOWN:] or 'nothing'}"
    return [Finding("problem", "job on a worker", f"ended without a look: {why}; {left}")]
