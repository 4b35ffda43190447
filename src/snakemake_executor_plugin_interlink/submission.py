"""A Snakemake job and the pod that was, or is to be, sent for it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from uuid import uuid4

import msgspec
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from flashlink.client.phase import Phase, Verdict
from flashlink.pods.wire import CreateRequest
from snakemake_executor_plugin_interlink.job import JobSpec, digest, public, request
from snakemake_executor_plugin_interlink.records import PodRecord, job_key
from snakemake_executor_plugin_interlink.sites import Site

#: Lines of a failed pod's log that the user sees at once.
TAIL = 50


@dataclass(eq=False)
class Submission:
    """One job and its pod.

    Attributes:
        job: Snakemake's job.
        spec: What of it matters to the pod.
        site: Where it runs.
        record: The pod, as it is kept on disk.
        attached: The pod was sent by an earlier Snakemake; if it comes to nothing there is a second one.
        noted: The last state that stands in the ledger.
        refusal: Why the site does not take the pod, if so.
        unknown_since: When the site, which had taken the pod, began not to know it; on the monotonic clock.
    """

    job: JobExecutorInterface
    spec: JobSpec
    site: Site
    record: PodRecord
    attached: bool = False
    noted: str = ""
    refusal: str = field(default="", init=False)
    unknown_since: float | None = field(default=None, init=False)

    @classmethod
    def plan(cls, job: JobExecutorInterface, spec: JobSpec, site: Site, earlier: PodRecord | None) -> Submission:
        """Take the pod of an earlier Snakemake if it does the very same at the same place, else a new one."""
        wanted = _fingerprint(job, spec)
        if earlier and (earlier.digest, earlier.endpoint) == (wanted, site.endpoint):
            return cls(job, spec, site, earlier, attached=bool(earlier.jid))
        submission = cls(job, spec, site, PodRecord(key_of(job), site.name, site.endpoint, wanted, {}))
        submission.renew()
        return submission

    def renew(self) -> None:
        """Take a new pod in place of one that is of no use."""
        pod = public(request(self.spec, str(uuid4())).pod)
        self.record = msgspec.structs.replace(self.record, pod=pod, jid="")
        self.attached = False
        self.unknown_since = None

    def request(self) -> CreateRequest:
        """The create call for the pod."""
        return request(self.spec, self.record.uid)

    def unless_forgotten(self, verdict: Verdict, patience: float) -> Verdict:
        """The verdict, but failed if the site, which took the pod, has not known it for longer than `patience` s."""
        if verdict.phase is not Phase.UNKNOWN:
            self.unknown_since = None
            return verdict
        now = time.monotonic()
        self.unknown_since = self.unknown_since or now
        if now - self.unknown_since < patience:
            return verdict
        return Verdict(Phase.FAILED, reason=f"site {self.site.name} has lost it: not known there for {patience:g} s")

    def useless(self, verdict: Verdict) -> bool:
        """Whether the pod of an earlier Snakemake cannot give what the job is wanted for now."""
        missing = any(not os.path.lexists(str(path)) for path in self.job.output)
        return verdict.phase is Phase.FAILED or (verdict.phase is Phase.SUCCEEDED and missing)


def key_of(job: JobExecutorInterface) -> str:
    """The job's name in the records."""
    return job_key(" ".join(sorted(rule.name for rule in _rules(job))), [str(path) for path in job.output])


def keep_log(pieces: Iterable[bytes], path: Path) -> list[str]:
    """Write a pod's log to a file as it comes.

    Returns:
        Its last lines, at most `TAIL`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    with path.open(encoding="utf-8", errors="replace") as lines:
        return [line.rstrip("\n") for line in deque(lines, maxlen=TAIL)]


def wildcards(job: JobExecutorInterface) -> dict[str, str]:
    """The job's wildcards; none for a group."""
    return {} if job.is_group() else {name: str(value) for name, value in job.wildcards_dict.items()}


def _fingerprint(job: JobExecutorInterface, spec: JobSpec) -> str:
    wish = [(single.shellcmd, sorted(single.params.items(), key=repr), list(single.params)) for single in _singles(job)]
    return digest(spec, wish, _stamps(job.input))


def _stamps(paths: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    for path in map(Path, paths):
        if path.exists():
            status = path.stat()
            yield str(path), status.st_mtime_ns, status.st_size


def _singles(job: JobExecutorInterface) -> list[JobExecutorInterface]:
    return list(chain.from_iterable(job.toposorted)) if job.is_group() else [job]


def _rules(job: JobExecutorInterface) -> list[JobExecutorInterface]:
    return [single.rule for single in _singles(job)]
