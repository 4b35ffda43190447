"""Slurm's words for where a job is and why, and what they are to flashlink: one table each.

The words are those of Slurm's own documentation (https://slurm.schedmd.com/job_state_codes.html and
https://slurm.schedmd.com/job_reason_codes.html), of the versions 20.11 to 26.05. ``squeue`` and ``sacct`` show one word
a job: a state flag where one is set, else the base state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from flashlink.batch.system import JobState, JobStatus

#: 128 + SIGTERM and 128 + SIGKILL: for jobs that were ended though Slurm tells no exit code, or 0.
TERMINATED, KILLED = 143, 137

#: Slurm's "signal" of a job whose script it could not start: its folder or its output file could not be opened.
_NOT_STARTED = 53


@dataclass(frozen=True, slots=True)
class State:
    """One of Slurm's states.

    Attributes:
        code: Slurm's short form.
        state: What it is to flashlink.
        words: For a person; "" where the state says it all.
        exit_code: Of an ended job that was not given one, or 0; None if nobody can know.
        forced: The exit code that Slurm tells is of no use: `exit_code` is told in its place.
    """

    code: str
    state: JobState
    words: str = ""
    exit_code: int | None = None
    forced: bool = False


_Q, _H, _R, _E = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.ENDED

#: All base states and flags. A job that is COMPLETING may still have processes, and its files may still grow.
STATES: Mapping[str, State] = {
    "BOOT_FAIL": State("BF", _E, "its node could not be booted", KILLED, forced=True),
    "CANCELLED": State("CA", _E, "cancelled", TERMINATED),
    "COMPLETED": State("CD", _E, exit_code=0),
    "COMPLETING": State("CG", _R, "it is ending"),
    "CONFIGURING": State("CF", _Q, "its node is being made ready"),
    "DEADLINE": State("DL", _E, "ended at its deadline", TERMINATED),
    "EXPEDITING": State("EX", _Q, "it is being started again"),
    "FAILED": State("F", _E, exit_code=1),
    "LAUNCH_FAILED": State("LF", _Q, "it could not be started on its node"),
    "NODE_FAIL": State("NF", _E, "its node failed", KILLED, forced=True),
    "OUT_OF_MEMORY": State("OOM", _E, "killed because it used more memory than it may", KILLED, forced=True),
    "PENDING": State("PD", _Q),
    "POWER_UP_NODE": State("PU", _Q, "its node is being powered up"),
    "PREEMPTED": State("PR", _E, "ended to make room for a job of higher priority", TERMINATED),
    "RECONFIG_FAIL": State("RE", _Q, "its node could not be configured"),
    "REQUEUED": State("RQ", _Q, "it is queued again"),
    "REQUEUE_FED": State("RF", _Q, "it is queued again by the federation"),
    "REQUEUE_HOLD": State("RH", _H, "it is queued again and held"),
    "RESIZING": State("RS", _R),
    "RESV_DEL_HOLD": State("RD", _H, "held because its reservation was deleted"),
    "REVOKED": State("RV", _E, "revoked because another cluster of the federation started it", KILLED),
    "RUNNING": State("R", _R),
    "SIGNALING": State("SI", _R, "it is being sent a signal"),
    "SPECIAL_EXIT": State("SE", _H, "held in a special state after it ended"),
    "STAGE_OUT": State("SO", _R, "its data are being staged out"),
    "STOPPED": State("ST", _R, "stopped by SIGSTOP, on its cores"),
    "SUSPENDED": State("S", _R, "suspended by Slurm"),
    "TIMEOUT": State("TO", _E, "ended at its time limit", TERMINATED),
    "UPDATE_DB": State("UD", _R),
}

#: Why a job that is PENDING waits, where it helps to say it in words. The first pattern that fits counts.
REASONS: Mapping[str, tuple[JobState, str]] = {
    "None": (_Q, "not considered by the scheduler yet"),
    "Priority": (_Q, "jobs of higher priority are before it"),
    "Resources": (_Q, "waits for free resources"),
    "Dependency": (_Q, "waits for another job"),
    "DependencyNeverSatisfied": (_H, "waits for another job in vain"),
    "BeginTime": (_Q, "its time to start has not come"),
    "Licenses": (_Q, "waits for a license"),
    "ReqNodeNotAvail*": (_Q, "nodes that it needs are not available"),
    "Nodes_required_for_job_are_*": (_Q, "nodes that it needs are down, or kept for jobs before it"),
    "PartitionDown": (_Q, "its partition is down"),
    "PartitionInactive": (_Q, "its partition is inactive"),
    "Prolog": (_Q, "its node is being prepared"),
    "Cleaning": (_Q, "its former run is being cleaned up"),
    "JobHeldUser": (_H, "held by its user; scontrol release lets it go on"),
    "JobHeldAdmin": (_H, "held by an administrator"),
    "JobHoldMaxRequeue": (_H, "held because it was queued again too often"),
    "JobLaunchFailure": (_H, "it could not be started"),
    "launch_failed_requeued_held": (_H, "held because it could not be started"),
    "BadConstraints": (_H, "no node can ever satisfy what it asks for"),
    "AccountNotAllowed": (_H, "its account may not use the partition"),
    "InvalidAccount": (_H, "its account is invalid"),
    "InvalidQOS": (_H, "its QOS is invalid"),
    "QOSNotAllowed": (_H, "its QOS is not allowed here"),
    "PartitionTimeLimit": (_H, "it asks for more time than the partition gives"),
    "PartitionNodeLimit": (_H, "it asks for more nodes than the partition gives, or they are down"),
    "MaxMemPerLimit": (_H, "it asks for more memory than the partition gives"),
    "ReservationDeleted": (_H, "its reservation was deleted"),
    "Assoc*PerJob*": (_H, "it asks for more than its association may"),
    "QOS*PerJob*": (_H, "it asks for more than its QOS gives a job"),
    "Assoc*": (_Q, "its association is at its limit"),
    "Max*PerAccount": (_Q, "its account is at its limit"),
    "QOSMin*": (_H, "it asks for less than its QOS demands"),
    "QOS*": (_Q, "its QOS is at its limit"),
}


def status(
    state: str, code: str, reason: str, node: str = "", started: float | None = None, ended: float | None = None
) -> JobStatus:
    """What Slurm says about a job, as flashlink's.

    Args:
        state: Slurm's word; of a cancelled job ``sacct`` adds "by" and a user.
        code: ``exit code:signal``.
        reason: Slurm's reason code; "None" or "" where there is none.
        node: The job's first node, or "".
        started: Seconds since the epoch, or None.
        ended: Seconds since the epoch, or None; what Slurm expects of a job that runs does not count.
    """
    word = state.split()[0].rstrip("+") if state.split() else ""
    known = STATES.get(word)
    if known is None:  # of a later version: not final until Slurm has a word for it that is known
        return JobStatus(_R, None, f"in Slurm's state {word}, which flashlink does not know", node, started)
    if known.state is _E:
        told = exit_code(code)
        final = known.exit_code if known.forced else (told or known.exit_code)
        return JobStatus(_E, final, _why_ended(known, code, reason, state), node, started, ended)
    if word == "PENDING":
        held, words = _waits(reason)
        return JobStatus(held, reason=words)
    if word == "COMPLETING":
        return JobStatus(_R, exit_code(code) or None, known.words, node, started)
    return JobStatus(known.state, reason=known.words, node=node, started=started)


def exit_code(code: str) -> int | None:
    """Slurm's exit code as a shell's: 128+signal for a signal; None if it is nothing of the kind."""
    decoded = _decode(code)
    if decoded is None:
        return None
    exit_, signal = decoded
    return min(128 + signal, 255) if signal else exit_


def _decode(code: str) -> tuple[int, int] | None:
    """Exit code and signal: ``1:0`` in most places, in squeue before 23.02 the status that wait(2) gives."""
    left, colon, right = code.partition(":")
    if not left.isdecimal() or (colon and not right.isdecimal()):
        return None
    return (int(left) & 0xFF, int(right)) if colon else (int(left) >> 8 & 0xFF, int(left) & 0x7F)


def _waits(reason: str) -> tuple[JobState, str]:
    code = reason.strip("()").replace(" ", "_")
    for pattern, (state, words) in REASONS.items():
        if fnmatchcase(code, pattern):
            return state, words if code in ("", "None") else f"{words} ({code})"
    return _Q, code


def _why_ended(known: State, code: str, reason: str, state: str) -> str:
    by = state.partition(" by ")[2]
    if known.code == "CA" and by:
        return f"{known.words} by user {by}"
    if known.code != "F":
        return known.words
    told = exit_code(code) or 0
    if told == 128 + _NOT_STARTED and (_decode(code) or (0, 0))[1]:
        return "Slurm could not start it: its folder or its output file could not be opened on the node"
    if told > 128:
        return f"its script was killed by signal {told - 128}, or ended with exit code {told}"
    return "" if reason in ("", "None", "NonZeroExitCode") else _waits(reason)[1]
