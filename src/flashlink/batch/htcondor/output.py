"""The output of spooled jobs, which has to be fetched before their pods can be told to have ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flashlink.batch.htcondor.client import Client
from flashlink.batch.htcondor.states import NOT_AGAIN, Status, walltime_reason
from flashlink.batch.system import JobState, JobStatus
from flashlink.errors import SiteError

#: Seconds for which a job's output is asked for again before the job is told to have ended without it.
PATIENCE = 3600.0

#: Most jobs in one call, so that none takes too long.
_BULK = 50

#: What HTCondor says when it has reached the job and cannot bring its files.
_OF_ONE_JOB = "File transfer failed"

Ad = Mapping[str, Any]


class Output:
    """Fetches the output of completed jobs into their folders.

    The folder is where the job was submitted from, which its ClassAd tells: the schedd is trusted with that.

    Args:
        client: Asks the schedd.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._fetched: set[str] = set()
        self._troubles: dict[str, str] = {}

    def fetch(self, ads: Sequence[Ad]) -> None:
        """Fetch what completed jobs have left; what fails is told by `told`, and tried again at the next call."""
        due = {_number(ad): ad for ad in ads if self._is_due(ad)}
        for ad in due.values():
            _make_folder(ad)
        numbers = list(due)
        try:
            for start in range(0, len(numbers), _BULK):
                self._retrieve(numbers[start : start + _BULK])
        except SiteError as error:  # out of reach: no use in asking for the others
            self._troubles |= dict.fromkeys(set(numbers) - self._fetched, str(error))

    def told(self, ad: Ad, status: JobStatus) -> JobStatus:
        """What a job's status means as long as its output is not here; its wall time is in the output."""
        if status.state is JobState.RUNNING and not status.reason:
            return replace(status, reason="it runs; what its containers do is known when it reports or ends")
        if ad.get("JobStatus") != Status.COMPLETED:
            return status
        number = _number(ad)
        if self._is_due(ad):
            trouble = self._troubles.get(number, "it has left the queue")
            if number in self._troubles and time.time() - (status.ended or 0.0) < PATIENCE:
                return JobStatus(JobState.RUNNING, None, f"its output cannot be fetched yet: {trouble}", status.node)
            return replace(status, reason=f"its output could not be fetched: {trouble}")
        match _cause(ad):
            case b"evicted":
                return replace(status, reason=NOT_AGAIN)
            case b"walltime":
                return replace(status, reason=walltime_reason(ad.get("FlashlinkWalltime", "?")))
            case b"killed":
                return replace(status, reason=f"its script was killed by signal {(status.exit_code or 128) - 128}")
        return status

    def forget(self, numbers: Sequence[str]) -> None:
        """Keep nothing of these jobs."""
        for number in numbers:
            self._fetched.discard(number)
            self._troubles.pop(number, None)

    def _is_due(self, ad: Ad) -> bool:
        completed = ad.get("JobStatus") == Status.COMPLETED and ad.get("StageOutFinish", 0) < ad.get(
            "CompletionDate", 0
        )
        return completed and _number(ad) not in self._fetched

    def _retrieve(self, numbers: Sequence[str]) -> None:
        """All of them, or, if one of them cannot be fetched, each by itself."""
        try:
            self._client.call("retrieve", jobs=numbers)
        except SiteError as error:
            if _OF_ONE_JOB not in str(error):
                raise
            if len(numbers) > 1:
                for number in numbers:
                    self._retrieve([number])
            else:
                self._troubles[numbers[0]] = str(error)
        else:
            self._fetched.update(numbers)


def _number(ad: Ad) -> str:
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def _make_folder(ad: Ad) -> None:
    """The folder of a pod may have been lost with the plugin's state; what holds the folders may not."""
    folder = Path(str(ad.get("SUBMIT_Iwd", "")))
    if folder.name == ad.get("FlashlinkUid"):
        with suppress(OSError):  # then the fetch fails, and tells why
            folder.mkdir(mode=0o700, exist_ok=True)


def _cause(ad: Ad) -> bytes:
    """The word that ``worker.sh`` has left; empty if it left none."""
    try:
        with (Path(str(ad.get("SUBMIT_Iwd", ""))) / "end").open("rb") as file:
            return file.read(16).strip()
    except OSError:
        return b""
