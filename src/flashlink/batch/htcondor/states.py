"""What a job's ClassAd says, as `JobStatus`; pure.

Job states and the codes of holds are those of HTCondor's manual ("Job ClassAd Attributes": JobStatus, HoldReasonCode).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from flashlink.batch.system import JobState, JobStatus

Ad = Mapping[str, Any]

#: Attributes that are read of a job, by the kind of their values.
_NUMBERS = (
    "ClusterId", "ProcId", "JobStatus", "EnteredCurrentStatus", "HoldReasonCode", "LastJobStatus", "LastHoldReasonCode",
    "ExitCode", "ExitSignal", "NumJobStarts", "JobCurrentStartDate", "JobStartDate", "CompletionDate",
    "FlashlinkWalltime", "StageInFinish", "StageOutFinish",
)  # fmt: skip
_WORDS = (
    "FlashlinkUid", "HoldReason", "LastHoldReason", "RemoveReason", "RemoteHost", "LastRemoteHost", "VacateReason",
    "SUBMIT_Iwd",
)  # fmt: skip
_FLAGS = ("ExitBySignal",)

#: For the projection of queries.
ATTRIBUTES = (*_NUMBERS, *_WORDS, *_FLAGS)

#: Seconds since the epoch, and any other number of a job, are below: the year 9999.
_LARGEST = 253402300800

#: Exit code of a job that was removed: 128 + SIGTERM, by which HTCondor ends it.
REMOVED_CODE = 143

#: Why a job has ended that its site would start again.
NOT_AGAIN = "evicted from its worker, and not to be started again (requeue)"

#: Exit code of a job that HTCondor ended by force.
KILLED_CODE = 137

_LONGEST = 400


class Status(IntEnum):
    """``JobStatus``."""

    IDLE = 1
    RUNNING = 2
    REMOVED = 3
    COMPLETED = 4
    HELD = 5
    TRANSFERRING_OUTPUT = 6
    SUSPENDED = 7


#: Code of a hold whose job is only on its way: its input files are being sent to the schedd.
SPOOLING = 16

#: Codes of holds that end a job, since running it again would end the same way, and the exit code that this means.
ENDING_HOLDS = {
    33: KILLED_CODE,  # its output is larger than the site takes
    34: KILLED_CODE,  # more memory or disk than it asked for
    46: REMOVED_CODE,  # longer than allowed_job_duration
    47: REMOVED_CODE,  # longer than allowed_execute_duration
}

_WALLTIME_HOLDS = (46, 47)


def read(raw: Mapping[str, Any]) -> Ad:
    """A job's attributes without those whose values are of the wrong kind: a schedd may answer with anything."""
    numbers = {name: int(raw[name]) for name in _NUMBERS if is_number(raw.get(name))}
    words = {name: raw[name] for name in _WORDS if isinstance(raw.get(name), str) and "\0" not in raw[name]}
    return numbers | words | {name: raw[name] for name in _FLAGS if isinstance(raw.get(name), bool)}


def is_number(value: object) -> bool:
    """A finite number, as those of jobs and machines are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


def status(ad: Ad) -> JobStatus:
    """State of a job.

    Args:
        ad: Its attributes as `read` gives them, from the queue or the history; undefined ones are missing.
    """
    match ad.get("JobStatus"):
        case Status.IDLE:
            return JobStatus(JobState.QUEUED, reason=_eviction(ad))
        case Status.RUNNING:
            return _running(ad)
        case Status.TRANSFERRING_OUTPUT:
            return _running(ad, "its output is on the way")
        case Status.SUSPENDED:
            return _running(ad, "suspended by the site")
        case Status.HELD if "RemoteHost" in ad:  # HTCondor is still ending it, here and below
            return _running(ad, _hold_reason(ad))
        case Status.HELD:
            return _held(ad)
        case Status.REMOVED if "RemoteHost" in ad:
            return _running(ad, _removal(ad))
        case Status.REMOVED:
            return _ended(ad, _removal_code(ad), _removal(ad))
        case Status.COMPLETED:
            return _ended(ad, exit_code(ad), _death(ad))
        case unknown:
            return JobStatus(JobState.QUEUED, reason=f"in HTCondor's job status {unknown}")


def _running(ad: Ad, reason: str = "") -> JobStatus:
    return JobStatus(JobState.RUNNING, None, reason, _node(ad), _started(ad))


def _ended(ad: Ad, code: int | None, reason: str) -> JobStatus:
    ended = _time(ad, "CompletionDate", "EnteredCurrentStatus")
    return JobStatus(JobState.ENDED, code, reason, _node(ad), _started(ad), ended)


def was_cut_off(ad: Ad) -> bool:
    """Whether a job was removed while its files were being sent, so that it never ran.

    The schedd notes that they have arrived (``StageInFinish``) all the same, if they do a moment later.
    """
    sent = ad.get("LastJobStatus") == Status.HELD and ad.get("LastHoldReasonCode") == SPOOLING
    return ad.get("JobStatus") == Status.REMOVED and sent


def exit_code(ad: Ad) -> int | None:
    """Exit code of a job that ran to its end: 0 to 255, 128+signal; None if HTCondor does not say."""
    if ad.get("ExitBySignal"):
        return 128 + int(ad.get("ExitSignal", 9)) % 128
    if "ExitCode" not in ad:
        return None
    code = int(ad["ExitCode"])
    return code if 0 <= code <= 255 else code & 255 or 1  # that of a failure stays one


def one_line(text: object) -> str:
    """HTCondor's words as one printable line of bounded length."""
    line = "".join(each if each.isprintable() else " " for each in " ".join(str(text).split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _held(ad: Ad) -> JobStatus:
    code = ad.get("HoldReasonCode", 0)
    if code == SPOOLING:
        return JobStatus(JobState.QUEUED, reason="its files are being sent to the site")
    if code in ENDING_HOLDS:
        return _ended(ad, ENDING_HOLDS[code], _hold_reason(ad))
    return JobStatus(JobState.HELD, None, _hold_reason(ad), _node(ad), _started(ad))


def _hold_reason(ad: Ad) -> str:
    if ad.get("HoldReasonCode") in _WALLTIME_HOLDS and ad.get("FlashlinkWalltime"):
        return walltime_reason(ad["FlashlinkWalltime"])
    return one_line(ad.get("HoldReason", "HTCondor gives no reason"))


def walltime_reason(seconds: object) -> str:
    """Why a job ended that was not done at its wall time."""
    return f"ended at its wall time of {seconds} s"


def _removal(ad: Ad) -> str:
    """Who removed a job and why; of one that was held, why it was."""
    removed = one_line(ad.get("RemoveReason", "HTCondor gives no reason"))
    if ad.get("LastJobStatus") == Status.IDLE and "PeriodicRemove" in removed:  # as submitted with the job
        return f"{NOT_AGAIN}{_why_evicted(ad)}"
    if ad.get("LastJobStatus") != Status.HELD or ad.get("LastHoldReasonCode") == SPOOLING:
        return f"removed: {removed}"
    held = _hold_reason({**ad, "HoldReason": ad.get("LastHoldReason"), "HoldReasonCode": ad.get("LastHoldReasonCode")})
    if "PeriodicRemove" not in removed:  # somebody did it, and not what was submitted with the job
        return f"removed: {removed}; it had been held: {held}"
    return held if ad.get("LastHoldReasonCode") in ENDING_HOLDS else f"held for too long: {held}"


def _removal_code(ad: Ad) -> int:
    held = ad.get("LastJobStatus") == Status.HELD
    return ENDING_HOLDS.get(ad.get("LastHoldReasonCode", 0), REMOVED_CODE) if held else REMOVED_CODE


def _death(ad: Ad) -> str:
    return f"its script was killed by signal {ad.get('ExitSignal', 9)}" if ad.get("ExitBySignal") else ""


def _eviction(ad: Ad) -> str:
    if not ad.get("NumJobStarts"):
        return ""
    return f"it was evicted from its worker and waits to start again{_why_evicted(ad)}"


def _why_evicted(ad: Ad) -> str:
    return f": {one_line(ad['VacateReason'])}" if "VacateReason" in ad else ""


def _node(ad: Ad) -> str:
    """Host of ``slot1_2@host``."""
    host = str(ad.get("RemoteHost") or ad.get("LastRemoteHost") or "").rpartition("@")[2]
    return re.sub(r"[^A-Za-z0-9.-]", "", host)


def _started(ad: Ad) -> float | None:
    return _time(ad, "JobCurrentStartDate", "JobStartDate")


def _time(ad: Ad, *names: str) -> float | None:
    return next((float(ad[name]) for name in names if ad.get(name, 0) > 0), None)
