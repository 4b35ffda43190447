"""What creates and deletes that came while the disk was busy want of the books, written down together. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from flashlink.plugin.record import Record
from flashlink.pods.pod import Pod

#: What a pod's job id, or the reason for its refusal, comes by.
Answer = Future[str | Exception]


@dataclass(frozen=True, slots=True)
class Create:
    """A pod that is to be written down.

    Attributes:
        pod: As it was asked for.
        record: New.
        body: The request.
        accepted: Gets the pod's record, with what its job id will come by.
    """

    pod: Pod
    record: Record
    body: bytes
    accepted: Future[tuple[Record, Answer]]

    @property
    def uid(self) -> str:
        """Of the pod."""
        return self.record.uid


@dataclass(frozen=True, slots=True)
class Delete:
    """A pod that shall end.

    Attributes:
        stranger: A record for it, if nobody knows the pod.
        grace: Of this delete, in seconds; None takes the pod's own.
        accepted: Gets its record, or None if it was deleted and has ended before.
    """

    stranger: Record
    grace: int | None
    accepted: Future[Record | None]

    @property
    def uid(self) -> str:
        """Of the pod."""
        return self.stranger.uid


@dataclass(frozen=True, slots=True)
class Entries:
    """What is to be written at once: newer records by uid, and the requests of those that are new."""

    records: dict[str, Record]
    requests: dict[str, bytes]


def entries(
    asked: Iterable[Create | Delete], known: Mapping[str, Record], buried: Container[str], now: float
) -> Entries:
    """What these requests, in the order in which they came, change.

    Args:
        asked: Creates of pods that are known or buried, and deletes of those that are deleted, change nothing.
        known: The records until now.
        buried: Uids of pods that were deleted and are gone.
        now: Seconds since the epoch.
    """
    found = Entries({}, {})
    for each in asked:
        record = found.records.get(each.uid) or known.get(each.uid)
        if each.uid in buried:
            continue
        if isinstance(each, Delete):
            record = record or each.stranger
            if record.deleted is None:
                found.records[each.uid] = replace(record, deleted=now, grace=each.grace)
        elif record is None:
            found.records[each.uid] = each.record
            found.requests[each.uid] = each.body
    return found
