"""Snakemake's interface to interLink: jobs in, pods out.

Snakemake's main thread hands jobs over (`Executor.run_job`) and takes note of their ends; one polling thread sends the
pods and asks for their states. So a plugin that is slow or away never holds up the scheduler.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from logging import Logger
from pathlib import Path

import msgspec
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import SharedFSUsage
from snakemake_interface_executor_plugins.utils import format_cli_arg
from snakemake_interface_executor_plugins.workflow import WorkflowExecutorInterface

from flashlink.client.phase import Phase, Verdict, verdict
from flashlink.errors import FlashlinkError, SiteError
from snakemake_executor_plugin_interlink.deletion import Deletions
from snakemake_executor_plugin_interlink.job import JobSpec, outermost
from snakemake_executor_plugin_interlink.ledger import Entry, Ledger
from snakemake_executor_plugin_interlink.records import Records
from snakemake_executor_plugin_interlink.settings import ExecutorSettings
from snakemake_executor_plugin_interlink.sites import Site, Sites
from snakemake_executor_plugin_interlink.submission import Submission, keep_log, key_of, wildcards

#: What the executor keeps in the working directory.
FOLDER = Path(".snakemake/interlink")

#: What a pod shares with Snakemake. Not its books: if the pod itself struck off the mark "incomplete", a Snakemake that
#: was killed meanwhile would later take outputs for good whose parameters it has never noted. Nor its cache at home.
_SHARED = [
    SharedFSUsage.INPUT_OUTPUT,
    SharedFSUsage.SOFTWARE_DEPLOYMENT,
    SharedFSUsage.SOURCES,
    SharedFSUsage.STORAGE_LOCAL_COPIES,
]

#: Kubernetes' names of GPUs, and the Snakemake resources that mean them.
_GPUS = {"nvidia.com/gpu": ("gpu", "nvidia_gpu", "nvidia.com/gpu"), "amd.com/gpu": ("amd_gpu", "amd.com/gpu")}


#: The word of the ledger for each phase of a pod.
_STATES = {
    Phase.UNKNOWN: "waiting",
    Phase.PENDING: "waiting",
    Phase.RUNNING: "running",
    Phase.SUCCEEDED: "done",
    Phase.FAILED: "failed",
}

#: Most input files that a job's command names one by one.
_MOST_WORDS = 20

#: How long Snakemake's end waits for plugins to take the deletion of pods that are left.
_DELETION_SECONDS = 20.0


class Executor(RemoteExecutor):
    """Sends jobs as pods to interLink plugins, and attaches to pods that an earlier, killed Snakemake has sent."""

    def __init__(self, workflow: WorkflowExecutorInterface, logger: Logger) -> None:
        # The base class starts its polling thread, so everything that this uses must be there before.
        settings: ExecutorSettings = workflow.executor_settings
        self._settings = settings
        endpoints = {settings.site_name: settings.endpoint, **settings.sites}
        self._sites = Sites(endpoints, settings.patience_seconds, logger)
        self._records = Records(FOLDER.absolute() / "pods")
        self._deletions = Deletions(self._records)
        self._ledger = Ledger(settings.ledger)
        self._submissions: dict[JobExecutorInterface, Submission] = {}
        self._planned = False
        super().__init__(workflow, logger)
        self.next_seconds_between_status_checks = settings.poll_seconds

    # ---- what Snakemake's scheduler calls, from its main thread

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Take jobs over from the scheduler."""
        if not self._planned:
            self._planned = True
            order = {rule.name: number for number, rule in enumerate(self.workflow.rules)}
            names = [job.name for job in self.dag.needrun_jobs() if not job.is_local]
            self._ledger.plan(Counter(sorted(names, key=lambda name: order.get(name, -1))))
        super().run_jobs(jobs)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Take one job over; the polling thread sends its pod, or attaches to the pod that it has already."""
        info = SubmittedJobInfo(job)
        earlier = self._records.find(key_of(job))
        name = str(job.resources.get("site") or self._settings.site_name)
        try:
            site = self._sites[name]
            submission = Submission.plan(job, self._spec(job, site), site, earlier)
        except FlashlinkError as error:
            self._ledger.note(Entry(time.time(), job.name, wildcards(job), "", name, "failed", str(error)))
            self.report_job_error(info, msg=str(error))
            return
        if earlier and earlier.uid != submission.record.uid:
            self._deletions.begin(earlier)
        self._records.write(submission.record)
        self._submissions[job] = submission
        info.external_jobid = submission.record.uid
        self._note(submission, "waiting")
        self.report_job_submission(info)

    def handle_job_success(self, job: JobExecutorInterface) -> None:
        """Delete the pod, now that Snakemake itself has taken note of the job's success."""
        super().handle_job_success(job)
        self._settle(job)

    def handle_job_error(self, job: JobExecutorInterface) -> None:
        """Delete the pod of a failed job."""
        super().handle_job_error(job)
        self._settle(job)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:  # noqa: ARG002
        """Note the cancellation; `shutdown`, which Snakemake calls next, deletes the pods once no more can be sent."""
        for submission in list(self._submissions.values()):
            self._note(submission, "cancelled")

    def shutdown(self) -> None:
        """End the polling thread and delete every pod that is left: cancelled ones, and those that nobody wants now."""
        super().shutdown()
        left = self._deletions.finish(self._records, _DELETION_SECONDS)
        if left:
            self.logger.warning(f"{len(left)} pods are left to the next run to delete: {left[0]}")
        self._sites.close()

    def print_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: object) -> None:
        """Show an error with the pod's uid; the base class would send the user to look for logs elsewhere."""
        job_info.job.log_error(msg, external_jobid=job_info.external_jobid, **kwargs)

    # ---- the command line of a pod

    def get_python_executable(self) -> str:
        """The interpreter inside the container."""
        return self._settings.python

    def get_job_args(self, job: JobExecutorInterface) -> str:
        """Arguments for the job, the same in every run: the base class would add a temporary folder's name."""
        arguments: str = RealExecutor.get_job_args(self, job, cores=job.threads)
        awaited = list(job.get_wait_for_files())
        if len(awaited) <= _MOST_WORDS:
            return f"{arguments} {format_cli_arg('--wait-for-files', awaited)}"
        return f"{arguments} {format_cli_arg('--wait-for-files-file', str(_listed(awaited)))}"

    def additional_general_args(self) -> str:
        """What the pod shares with this process (given last, it wins), and no chatter: the log is the rule's own."""
        return f"{format_cli_arg('--shared-fs-usage', _SHARED)} --quiet host progress rules reason"

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """The shell line that runs the job, the same in every run of Snakemake."""
        line: str = super().format_job_exec(job)
        cache = self.workflow.sourcecache.runtime_cache_path
        return line.replace(format_cli_arg("--runtime-source-cache-path", cache), "")

    def _spec(self, job: JobExecutorInterface, site: Site) -> JobSpec:
        here = str(Path.cwd())
        asked = job.resources
        return JobSpec(
            name=job.name,
            command=self.format_job_exec(job),
            working_dir=here,
            image=self._settings.image,
            site=site.name,
            environment=dict(self.envvars()),
            mounts=outermost([here, *(self._settings.mounts or [str(Path(self.snakefile).absolute().parent)])]),
            namespace=self._settings.namespace,
            cpus=job.threads,
            memory_mb=_whole(asked.get("mem_mb")),
            disk_mb=_whole(asked.get("disk_mb")),
            gpus={kind: sum(_whole(asked.get(name)) for name in names) for kind, names in _GPUS.items()},
            deadline=60 * _whole(asked.get("runtime")),
            grace=self._settings.grace_seconds,
        )

    # ---- the polling thread

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Send what is to be sent, ask each site about all its pods at once, report what has ended; yield the rest."""
        here = {info.job: self._submissions[info.job] for info in active_jobs}
        await asyncio.gather(*(asyncio.to_thread(self._send, submission) for submission in here.values()))
        verdicts: dict[JobExecutorInterface, Verdict] = {}
        by_site = sorted(here.values(), key=lambda submission: submission.site.endpoint)
        for _, group in groupby(by_site, key=lambda submission: submission.site.endpoint):
            verdicts |= await asyncio.to_thread(self._ask, [one for one in group if one.record.jid])
        for info in active_jobs:
            if not self._ended(info, here[info.job], verdicts.get(info.job)):
                yield info

    def _send(self, submission: Submission) -> None:
        if submission.record.jid or not self.wait:
            return
        try:
            jid = submission.site.create(submission.request())
        except FlashlinkError as error:
            submission.refusal = str(error)
            return
        if jid:
            submission.record = msgspec.structs.replace(submission.record, jid=jid)
            self._records.write(submission.record)

    @staticmethod
    def _ask(submissions: Sequence[Submission]) -> dict[JobExecutorInterface, Verdict]:
        if not submissions:
            return {}
        try:
            statuses = submissions[0].site.status([submission.record for submission in submissions])
        except SiteError as error:
            return {submission.job: Verdict(Phase.FAILED, reason=str(error)) for submission in submissions}
        if statuses is None:
            return {}
        return {submission.job: verdict(statuses.get(submission.record.uid)) for submission in submissions}

    def _ended(self, info: SubmittedJobInfo, submission: Submission, seen: Verdict | None) -> bool:
        """Act on what is known of a job's pod; True if Snakemake has been told of its end."""
        if submission.refusal:
            seen = Verdict(Phase.FAILED, reason=submission.refusal)
        if seen is None:
            return False
        seen = submission.unless_forgotten(seen, self._settings.forgotten_seconds)
        if submission.attached and submission.useless(seen):
            self._deletions.begin(submission.record)
            submission.renew()
            self._records.write(submission.record)
            info.external_jobid = submission.record.uid
            return False
        if seen.phase is Phase.FAILED:
            self._report_failure(info, submission, seen.reason)
            return True
        self._note(submission, _STATES[seen.phase])
        if seen.phase is Phase.SUCCEEDED:
            self.report_job_success(info)
        return seen.phase is Phase.SUCCEEDED

    def _report_failure(self, info: SubmittedJobInfo, submission: Submission, reason: str) -> None:
        record = submission.record
        path = FOLDER.absolute() / "logs" / f"{record.name}.log"
        lines: list[str] = []
        if record.jid:
            try:
                lines = keep_log(submission.site.logs(record), path)
            except FlashlinkError as error:
                lines = [f"(the log could not be fetched: {error})"]
        self._note(submission, "failed", reason, str(path) if path.exists() else "")
        told = [f"pod {record.name} at site {record.site}: {reason}"]
        if lines:
            told += [f"the last lines of its log (all of it: {path}):", *(f"| {line}" for line in lines)]
        self.report_job_error(info, msg="\n        ".join(told))

    # ---- both threads

    def _settle(self, job: JobExecutorInterface) -> None:
        submission = self._submissions.pop(job, None)
        if submission:
            self._deletions.begin(submission.record)

    def _note(self, submission: Submission, state: str, reason: str = "", log: str = "") -> None:
        if state != submission.noted:
            submission.noted = state
            record, job = submission.record, submission.job
            pod, site = record.name, record.site
            self._ledger.note(Entry(time.time(), job.name, wildcards(job), pod, site, state, reason, log))


def _listed(paths: Sequence[str]) -> Path:
    """A file that lists them, of the same name in every run: a command line holds 128 KiB at most."""
    text = "".join(f"{path}\n" for path in paths)
    file = FOLDER.absolute() / "inputs" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.txt"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        temporary = file.with_suffix(".new")
        temporary.write_text(text)
        temporary.rename(file)
    return file


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
