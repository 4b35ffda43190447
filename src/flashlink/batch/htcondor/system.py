"""HTCondor as a `flashlink.batch.BatchSystem`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flashlink.batch.htcondor import description, states, tokens
from flashlink.batch.htcondor.client import Client, RefusedError
from flashlink.batch.htcondor.machines import Machines
from flashlink.batch.htcondor.options import Options, expressions, read
from flashlink.batch.htcondor.output import Output
from flashlink.batch.system import Capacity, JobSpec, JobState, JobStatus
from flashlink.errors import SiteError

#: Uids or ids beyond which a constraint names no single ones: the schedd compares each with every job.
_FEW = 200

_OURS = "FlashlinkUid isnt undefined"

#: A spooled job whose input has not arrived in whole, and that has therefore never run.
_UNFINISHED = f"JobStatus == 5 && HoldReasonCode == {states.SPOOLING}"

_OVER = (states.Status.REMOVED, states.Status.COMPLETED)

#: Seconds after which a collector that does not answer is given up: as HTCondor does with a schedd, and not its 60.
CONNECTION = 20

#: Seconds for which a job is looked for again that neither queue nor history tells of: its pod would fail for good.
PATIENCE = 10.0

Ad = states.Ad


class HTCondorBatch:
    """Implements `flashlink.batch.BatchSystem` on HTCondor.

    Args:
        state: Folder for tokens and the log of HTCondor's libraries; made if missing.
        cpus: Cores of the site; 0 asks the pool.
        memory: Bytes of the site; 0 asks the pool.
        pods: Most jobs at once.
        options: See `flashlink.batch.htcondor.options.Options`.

    Raises:
        SiteError: An option is not one, or the bindings are not installed.
    """

    name = "htcondor"

    def __init__(self, state: Path, *, cpus: int, memory: int, pods: int, options: Mapping[str, object]) -> None:
        chosen = read(options)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        self._options = chosen
        self._tokens = tokens.source(chosen, state)
        setup = {"pool": chosen.pool, "schedd": chosen.schedd, "configuration": _configuration(chosen)}
        self._client = Client(setup, self._tokens.environment(os.environ), state / "bindings.log")
        self._check_expressions()
        self._machines = Machines(self._client, Capacity(cpus, memory, chosen.gpus, pods))
        self._output = Output(self._client)
        self._schedd = ""
        self._last: dict[str, JobStatus] = {}  # as last told, of jobs that go on
        self._ended: dict[str, JobStatus] = {}
        self._missing: dict[str, float] = {}  # when a job was first told of by neither queue nor history
        self._ids: dict[str, str] = {}  # by uid, of the jobs that this object has submitted
        self._released: set[str] = set()  # clusters that are not held for their files any more, nor say so

    def submit(self, jobs: Sequence[JobSpec]) -> list[str | SiteError]:
        """Submit jobs in bulk; see `BatchSystem.submit`."""
        self._tokens.renew()
        if self._tokens.trouble:
            raise SiteError(self._tokens.trouble, transient=True)
        new = {spec.uid: spec for spec in jobs}
        outcomes: dict[str, str | SiteError] = {uid: self._ids[uid] for uid in new if uid in self._ids}
        outcomes |= self._queued([uid for uid in new if uid not in outcomes])
        shapes: dict[object, list[JobSpec]] = {}
        for uid, spec in new.items():
            if uid not in outcomes:
                refusal = self._machines.refusal(spec)
                if refusal is None:
                    shapes.setdefault(description.shape(spec), []).append(spec)
                else:
                    outcomes[uid] = refusal
        for specs in shapes.values():
            outcomes |= self._submit(specs)
        return [outcomes[spec.uid] for spec in jobs]

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """State of jobs by one query of the queue, and one of the history for those that have left it."""
        found = {job_id: self._ended[job_id] for job_id in job_ids if job_id in self._ended}
        asked = {number: job_id for job_id in job_ids if job_id not in found and (number := self._number(job_id))}
        if asked:
            ads = self._ads(_among(asked))
            if self._options.spool:
                ours = [ad for number, ad in ads.items() if number in asked]
                self._release(ours)
                self._output.fetch(ours)
            for some in _chunks([number for number in asked if number not in ads]):
                ads |= self._past(_numbers(some), len(some))
            for number, job_id in asked.items():
                found[job_id] = self._status(job_id, ads[number]) if number in ads else self._unclear(job_id)
        unknown = JobStatus(JobState.LOST, reason="this is no job of the site's HTCondor")
        return {job_id: found.get(job_id, unknown) for job_id in job_ids}

    def find(self, uids: Sequence[str]) -> dict[str, str]:
        """Job ids by uid, from the queue and the history; see `BatchSystem.find`."""
        if not uids:
            return {}
        if self._options.spool:
            self._remove_unfinished(uids)
        found = self._queued(uids)
        missing = [uid for uid in uids if uid not in found]
        if missing:
            found |= self._first(self._past(_uids(missing)).values(), missing)
        return found

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        """End jobs; their grace is what they were submitted with, but none at all if `grace` is 0.

        An HTCondor-CE keeps to the grace of the submission in any case.
        """
        numbers = [number for job_id in job_ids if (number := self._number(job_id))]
        if not numbers:
            return
        if grace == 0 and not self._options.spool:
            self._call("act", action="VacateFast", jobs=numbers, reason="its pod was deleted by force")
        self._call("act", action="Remove", jobs=numbers, reason="its pod was deleted")

    def forget(self, job_ids: Sequence[str]) -> None:
        """Let ended jobs leave the queue, and with them what was spooled."""
        numbers = [number for job_id in job_ids if (number := self._number(job_id))]
        for some in _chunks(numbers):
            ended = [number for number, ad in self._ads(_numbers(some)).items() if ad.get("JobStatus") in _OVER]
            if ended:
                self._call("edit", jobs=ended, attribute="LeaveJobInQueue", value="False")
                self._call("act", action="Remove", jobs=ended, reason="its pod was deleted")
        gone = {job_id for job_id in job_ids if self._ended.pop(job_id, None) is not None}
        for job_id in job_ids:
            self._last.pop(job_id, None)
            self._missing.pop(job_id, None)
        self._ids = {uid: job_id for uid, job_id in self._ids.items() if job_id not in gone}
        self._output.forget(numbers)

    def capacity(self) -> Capacity:
        """Totals of the pool, or those of the site's file; see `BatchSystem.capacity`."""
        self._tokens.renew()
        self._name_of_schedd(ask=True)
        return self._machines.capacity()

    def close(self) -> None:
        """End the process of the bindings."""
        self._client.close()

    def _submit(self, specs: Sequence[JobSpec]) -> dict[str, str | SiteError]:
        """Submit jobs of one shape: all at once, or one by one if HTCondor takes some but not all."""
        wrong = self._wrong(specs[0].options) if specs[0].options else {}
        for key, why in wrong.items():
            refusal = SiteError(f"{key}: not a ClassAd expression: {states.one_line(why)}; correct the pod")
            return dict.fromkeys((spec.uid for spec in specs), refusal)
        try:
            ids = self._call(
                "submit",
                description=description.describe(specs[0], self._options),
                rows=[description.row(spec) for spec in specs],
                spool=self._options.spool,
            )
        except RefusedError as error:
            if len(specs) == 1:
                return {specs[0].uid: error}
            return {uid: outcome for spec in specs for uid, outcome in self._submit([spec]).items()}
        except SiteError as error:
            if error.transient:
                raise
            return dict.fromkeys((spec.uid for spec in specs), error)
        schedd = self._name_of_schedd()
        taken = {spec.uid: f"{self.name}:{schedd}:{number}" for spec, number in zip(specs, ids, strict=True)}
        self._ids |= taken
        return dict(taken)

    def _release(self, ads: Sequence[Ad]) -> None:
        """Take back from whole clusters the code of the hold under which files were sent.

        A job only hides it, until its schedd is started anew. A CE that routes the job again then hands it on, and
        the site's schedd takes the job for one whose files have been sent to it.
        """
        waits = (states.Status.IDLE, states.Status.RUNNING)
        clusters = {str(ad["ClusterId"]) for ad in ads if "StageInFinish" in ad and ad.get("JobStatus") in waits}
        if new := clusters - self._released:
            with suppress(SiteError):  # nothing is wrong yet; the next query tries it again
                self._call("edit", jobs=sorted(new), attribute="HoldReasonCode", value="undefined")
                self._released = clusters

    def _remove_unfinished(self, uids: Sequence[str]) -> None:
        """What was cut off while it was being sent will never run: it makes room for another try."""
        for some in _chunks([uid for uid in uids if uid not in self._ids]):
            constraint = f"{_UNFINISHED} && {_uids(some)}"
            self._call("act", action="Remove", jobs=constraint, reason="its files were not sent in whole")

    def _queued(self, uids: Sequence[str]) -> dict[str, str]:
        """Job ids of those uids that the queue has."""
        return self._first(self._ads(_uids(uids)).values(), uids) if uids else {}

    def _first(self, ads: Iterable[Ad], uids: Iterable[str]) -> dict[str, str]:
        """Job ids of those uids; of several jobs of one uid the one that runs or may, or else the one that has."""
        wanted = set(uids)
        ours = [ad for ad in ads if ad.get("FlashlinkUid") in wanted and self._whole(ad)]
        ours.sort(key=lambda ad: (ad.get("JobStatus") not in _OVER, ad.get("JobStatus") == states.Status.COMPLETED))
        return {ad["FlashlinkUid"]: self._id(ad) for ad in ours}

    def _whole(self, ad: Ad) -> bool:
        """Whether a job can run, or could: all of it has arrived at the schedd."""
        if not self._options.spool or self._ids.get(ad["FlashlinkUid"]) == self._id(ad):
            return True
        return "StageInFinish" in ad and not states.was_cut_off(ad)

    def _status(self, job_id: str, ad: Ad) -> JobStatus:
        status = self._output.told(ad, states.status(ad)) if self._options.spool else states.status(ad)
        self._missing.pop(job_id, None)
        if status.state is JobState.ENDED:
            self._ended[job_id] = status
            self._last.pop(job_id, None)
        else:
            self._last[job_id] = status
        return status

    def _unclear(self, job_id: str) -> JobStatus:
        """A job of which neither queue nor history tells: for a while as it was last seen."""
        now = time.monotonic()
        if now - self._missing.setdefault(job_id, now) < PATIENCE:
            before = self._last.get(job_id, JobStatus(JobState.RUNNING))
            return replace(before, reason="HTCondor does not tell of it at present")
        return JobStatus(JobState.LOST, reason="HTCondor knows this job neither in its queue nor in its history")

    def _ads(self, constraint: str) -> dict[str, Ad]:
        """Jobs in the queue by ``cluster.proc``."""
        return _by_number(self._call("query", constraint=f"{_OURS} && ({constraint})", projection=states.ATTRIBUTES))

    def _past(self, constraint: str, most: int = -1) -> dict[str, Ad]:
        """Jobs that have left the queue, by ``cluster.proc``."""
        return _by_number(
            self._call("history", constraint=f"{_OURS} && ({constraint})", projection=states.ATTRIBUTES, match=most)
        )

    def _call(self, name: str, **arguments: Any) -> Any:
        self._tokens.renew()
        try:
            return self._client.call(name, **arguments)
        except SiteError as error:
            if error.transient and self._tokens.trouble:
                raise SiteError(f"{self._tokens.trouble} ({error})", transient=True) from error
            raise

    def _name_of_schedd(self, *, ask: bool = False) -> str:
        if ask or not self._schedd:
            self._schedd = self._call("locate")
        return self._schedd

    def _id(self, ad: Ad) -> str:
        return f"{self.name}:{self._name_of_schedd()}:{_number_of(ad)}"

    def _number(self, job_id: str) -> str:
        """``cluster.proc`` of a job of this schedd; "" for any other text."""
        head, _, number = job_id.rpartition(":")
        cluster, _, process = number.partition(".")
        plain = all(part.isascii() and part.isdecimal() and len(part) < 10 for part in (cluster, process))
        return number if plain and head == f"{self.name}:{self._name_of_schedd()}" else ""

    def _wrong(self, given: Mapping[str, str]) -> dict[str, str]:
        """What HTCondor's parser has against expressions, each by itself: none can reach out of its brackets."""
        words = {key: text for key, text in given.items() if key not in ("accounting_group", description.NO_REQUEUE)}
        wrong: dict[str, str] = self._client.call("check", expressions=words)
        return wrong

    def _check_expressions(self) -> None:
        for key, why in self._wrong(expressions(self._options)).items():
            self.close()
            raise SiteError(f"batch.options.{key}: not a ClassAd expression: {states.one_line(why)}")


def _configuration(chosen: Options) -> dict[str, str]:
    """HTCondor's configuration for the client that the site's options mean."""
    macros = {"QUERY_TIMEOUT": str(CONNECTION)}
    if chosen.authentication:
        macros["SEC_CLIENT_AUTHENTICATION_METHODS"] = ",".join(chosen.authentication)
    if chosen.ca_file:
        macros["AUTH_SSL_CLIENT_CAFILE"] = chosen.ca_file
    if chosen.token_directory:
        macros["SEC_TOKEN_DIRECTORY"] = chosen.token_directory
    return macros | chosen.configuration


def _by_number(raw: Iterable[Mapping[str, Any]]) -> dict[str, Ad]:
    """Jobs by ``cluster.proc``; an answer in which one has none tells nothing of the others either."""
    try:
        return {_number_of(ad): ad for ad in map(states.read, raw)}
    except KeyError as error:
        raise SiteError(f"HTCondor tells of a job without {error}; it is asked again", transient=True) from error


def _number_of(ad: Ad) -> str:
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def _among(numbers: Iterable[str]) -> str:
    """Jobs between the first and the last of `numbers`: short, however many they are."""
    clusters = [int(number.partition(".")[0]) for number in numbers]
    return f"ClusterId >= {min(clusters)} && ClusterId <= {max(clusters)}"


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _FEW] for start in range(0, len(names), _FEW))


def _numbers(numbers: Sequence[str]) -> str:
    pairs = (number.split(".") for number in numbers)
    return " || ".join(f"ClusterId == {cluster} && ProcId == {process}" for cluster, process in pairs)


def _uids(uids: Sequence[str]) -> str:
    if len(uids) > _FEW:
        return _OURS
    return f"member(FlashlinkUid, {{{', '.join(map(description.quoted, uids))}}})"
