"""What interLink plugins answer, read into interLink's wire objects.

flashlink's own answers are exact; those of other plugins differ in shape from version to version: a list in place of
one object, a lone job id, null in place of empty lists, a missing exit code, empty times. All of that is understood
here, so the rest of the client sees one shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flashlink.errors import SiteError
from flashlink.pods import wire


def decode(body: bytes, endpoint: str) -> Any:
    """The JSON of an answer.

    Raises:
        SiteError: Not JSON: whoever answers at `endpoint` is no interLink plugin, or a broken one.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise garbage(endpoint, body, "JSON") from None


def garbage(endpoint: str, seen: object, expected: str) -> SiteError:
    """The error that an answer is not what interLink's interface says."""
    shown = repr(seen)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return SiteError(f"{endpoint}: answered {shown} where {expected} was expected; is it an interLink plugin?")


def create_answer(answer: Any, uid: str, endpoint: str) -> wire.CreateAnswer:
    """Read the answer of a create: ``{PodUID, PodJID}``, a list of one such object, or the job id alone."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, Mapping):
        seen = _text(answer.get("PodUID")) or uid
        jid = next((_text(answer[key]) for key in ("PodJID", "JID", "jid", "JobID") if answer.get(key)), "")
    else:
        seen, jid = uid, _text(answer)
    if seen != uid or not jid:
        raise garbage(endpoint, answer, f"the job id of pod {uid}")
    return wire.CreateAnswer(PodUID=uid, PodJID=jid)


def statuses(answer: Any, endpoint: str) -> list[wire.PodStatus]:
    """Read the answer of a status call: a list of pod statuses, or one alone."""
    entries = [answer] if isinstance(answer, Mapping) else answer if answer is not None else []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise garbage(endpoint, answer, "a list of pod statuses")
    return [
        wire.PodStatus(
            name=_text(entry.get("name")),
            UID=_text(entry.get("UID") or entry.get("uid")),
            namespace=_text(entry.get("namespace")),
            JID=_text(entry.get("JID")),
            containers=_containers(entry.get("containers"), endpoint),
            initContainers=_containers(entry.get("initContainers"), endpoint),
        )
        for entry in entries
    ]


def ping(body: bytes) -> wire.Ping:
    """Read the answer of a ping; before interLink 0.6.2 any body, or none, meant that all is well."""
    try:
        return msgspec.json.decode(body, type=wire.Ping)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return wire.Ping(status="ok")


def _containers(entries: Any, endpoint: str) -> list[wire.ContainerStatus]:
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise garbage(endpoint, entries, "a list of container statuses")
    return [
        wire.ContainerStatus(
            name=_text(entry.get("name")),
            state=_state(entry.get("state")),
            ready=entry.get("ready") is True,
            restartCount=_whole(entry.get("restartCount")),
            image=_text(entry.get("image")),
            imageID=_text(entry.get("imageID")),
        )
        for entry in entries
    ]


def _state(state: Any) -> wire.State:
    """Kubernetes' reading: a state that says nothing is waiting."""
    told = state if isinstance(state, Mapping) else {}
    match told:
        case {"terminated": Mapping() as end}:
            terminated = wire.Terminated(
                exitCode=_whole(end.get("exitCode")),
                reason=_text(end.get("reason")),
                message=_text(end.get("message")),
                startedAt=_text(end.get("startedAt")) or None,
                finishedAt=_text(end.get("finishedAt")) or None,
            )
            return wire.State(terminated=terminated)
        case {"running": Mapping() as run}:
            return wire.State(running=wire.Running(startedAt=_text(run.get("startedAt")) or None))
        case {"waiting": Mapping() as wait}:
            return wire.State(waiting=wire.Waiting(_text(wait.get("reason")), _text(wait.get("message"))))
        case _:
            return wire.State(waiting=wire.Waiting("Unknown", "the plugin tells no state"))


def _text(value: Any) -> str:
    """Text, or a number written as one: some plugins answer job ids as numbers."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
