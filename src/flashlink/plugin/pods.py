"""The pods that the plugin knows: in memory, where requests read them, and in the books, where a restart finds them.

Requests come here: `Pods.create`, `Pods.delete` and `Pods.status` write down what is wanted or read what is known and
return at once. `flashlink.plugin.reconcile` does what was wanted, and writes what it sees with `Pods.change`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from flashlink.errors import RequestError
from flashlink.plugin.books import Books
from flashlink.plugin.intake import Answer, Create, Delete, entries
from flashlink.plugin.record import Record, outline_of
from flashlink.plugin.states import known_states
from flashlink.plugin.submission import decide
from flashlink.pods import wire
from flashlink.pods.parse import ContainerImages, Identity, container_images, parse_create, parse_identity
from flashlink.pods.pod import Pod
from flashlink.pods.status import ContainerState, Outline, Phase, pod_status
from flashlink.site.config import Site

log = structlog.get_logger("flashlink.plugin")

#: Why a pod waits whose job only the batch system may know.
LOOKING = "looking for its job at the batch system"

#: Uid to the fields of `Record` that have new values.
Changes = dict[str, dict[str, Any]]

#: What a pod's record comes by, with what its job id will come by, once it is on disk.
Accepted = Future[tuple[Record, Answer]]


class Pods:
    """All known pods. Methods may be called from any thread; none of them waits for the batch system.

    Args:
        books: Where they are kept.
        site: What pods may ask for.
        work: Folder with one private folder a pod.
        system: Name of the batch system, the first part of its job ids.
    """

    def __init__(self, books: Books, site: Site, work: Path, system: str) -> None:
        self.site = site
        self.wake: Callable[[], None] = lambda: None
        self._books = books
        self._work = work
        self._system = system
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._asked: deque[Create | Delete] = deque()
        self._intake = ThreadPoolExecutor(1, "intake")
        self._records = {record.uid: record for record in books.records()}
        self._told: dict[str, tuple[Record, wire.KnownPod, wire.PodStatus]] = {}
        self._tombstones = set(books.tombstones())

    def __len__(self) -> int:
        return len(self._records)

    def get(self, uid: str) -> Record | None:
        """The record of a pod, or None."""
        return self._records.get(uid)

    def records(self) -> list[Record]:
        """The records of all pods at this moment."""
        with self._lock:
            return list(self._records.values())

    def without_job(self) -> list[Record]:
        """The records of the pods whose jobs have still to be found or submitted."""
        return [record for record in self.records() if record.has_no_job]

    def folder(self, uid: str) -> Path:
        """The private folder of a pod; `uid` is one that `parse_identity` has checked."""
        return self._work / uid

    def request(self, uid: str) -> bytes | None:
        """The create request of a pod whose job has not begun."""
        return self._books.request(uid)

    def jid(self, record: Record) -> str:
        """InterLink's ``PodJID``: the job id, or, until it is known, what still tells system and uid."""
        return record.job_id or record.hint or f"{self._system}/{record.uid}"

    def create(self, body: bytes) -> Accepted:
        """Take in a pod; the same pod again changes nothing.

        Requests that come while the disk is busy are written down together: a slow disk takes as long for one of them.

        Args:
            body: Of ``POST /create``.

        Returns:
            What holds, once the pod is on disk, its record, and what will hold the job id or the reason why the batch
            system refused it. It holds a `RequestError` if the pod was deleted meanwhile, and a `SiteError` if the pod
            cannot be written down.

        Raises:
            RequestError: The pod is wrong, or was deleted before.
            SiteError: The site cannot run it.
        """
        pod = parse_create(body)
        accepted: Accepted = Future()
        known = self._known(pod)
        if known is not None:
            accepted.set_result(known)
            return accepted
        job = decide(pod, self.site, self.folder(pod.uid))
        images = {step.name: step.image for step in (*job.init_steps, *job.steps)}
        self._asked.append(Create(pod, Record(outline_of(pod), time.time(), images=images), body, accepted))
        self._intake.submit(self._take_in)
        return accepted

    def _take_in(self) -> None:
        """Write down all that was asked for by now, at once, and tell those who wait."""
        with self._lock:
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            if not asked:  # an earlier turn has taken in all of them
                return
            new = entries(asked, self._records, self._tombstones, time.time())
            try:
                self._books.put(new.records.values(), new.requests)
            except Exception as error:  # whatever it is, those who wait are told
                for each in asked:
                    each.accepted.set_exception(error)
                return
            self._records.update(new.records)
            self._answers.update((uid, Future()) for uid in new.requests)
            for each in asked:
                self._tell(each)
        self.wake()

    def _tell(self, asked: Create | Delete) -> None:
        if isinstance(asked, Delete):
            asked.accepted.set_result(self._records.get(asked.uid))
            return
        try:
            self._refuse_deleted(asked.pod)
        except RequestError as error:
            asked.accepted.set_exception(error)
        else:
            asked.accepted.set_result(self._with_answer(self._records[asked.uid]))

    def _known(self, pod: Pod) -> tuple[Record, Answer] | None:
        self._refuse_deleted(pod)
        record = self._records.get(pod.uid)
        return None if record is None else self._with_answer(record)

    def _refuse_deleted(self, pod: Pod) -> None:
        record = self._records.get(pod.uid)
        if pod.uid in self._tombstones or (record is not None and record.deleted is not None):
            raise RequestError(
                f"pod {pod.namespace}/{pod.name}: uid {pod.uid} was deleted already; create it anew, under a new uid"
            )

    def _with_answer(self, record: Record) -> tuple[Record, Answer]:
        answer = self._answers.get(record.uid)
        if answer is None:
            answer = Future()
            answer.set_result(record.job_id)
        return record, answer

    def answer(self, uid: str, outcome: str | Exception) -> None:
        """Tell whoever waits for the job id of a pod."""
        with self._lock:
            waiting = self._answers.pop(uid, None)
        if waiting is not None:
            waiting.set_result(outcome)

    def drop(self, uid: str) -> None:
        """Keep nothing of a pod whose create was answered with a refusal."""
        with self._lock:
            self._books.drop(uid)
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        self._records.pop(uid, None)
        self._told.pop(uid, None)

    def delete(self, pod: wire.KnownPod) -> Future[Record | None]:
        """Write down that a pod shall end; a pod that nobody knows is looked for at the batch system all the same.

        Like creates, those that come while the disk is busy are written down together.

        Returns:
            What holds, once that is on disk, its record, or None if the pod was deleted and has ended before. It holds
            a `SiteError` if it cannot be written down.

        Raises:
            RequestError: Its uid, or the name of a container, is none.
        """
        stranger = self._stranger(pod, parse_identity(pod))
        grace = pod.metadata.deletionGracePeriodSeconds
        accepted: Future[Record | None] = Future()
        self._asked.append(Delete(stranger, None if grace is None else max(grace, 0), accepted))
        self._intake.submit(self._take_in)
        return accepted

    def status(self, pods: Sequence[wire.KnownPod]) -> list[wire.PodStatus]:
        """Status of pods, from memory; a pod that only the batch system may know is adopted.

        Raises:
            RequestError: The uid of one, or the name of a container, is none.
        """
        return [self._same_as_before(pod) or self._status(pod) for pod in pods]

    def _same_as_before(self, pod: wire.KnownPod) -> wire.PodStatus | None:
        """The last answer, where neither the question nor what is known has changed since: so it is of most pods."""
        record, asked, answer = self._told.get(pod.metadata.uid or "") or (None, None, None)
        return answer if record is not None and record is self._records.get(record.uid) and asked == pod else None

    def _status(self, pod: wire.KnownPod) -> wire.PodStatus:
        identity = parse_identity(pod)
        uid, jid = identity.uid, identity.jid
        record = self._records.get(uid)
        if record is None and self._ours(jid) and uid not in self._tombstones:
            record = self._adopt(pod, identity)
        containers = container_images(pod)
        outline = _asked(identity, containers, record.pod.not_offloaded if record else frozenset())
        images = containers.main | containers.init
        if record is None:
            return pod_status(outline, jid, _deleted(outline) if uid in self._tombstones else {}, images)
        answer = pod_status(outline, self.jid(record), known_states(record), images, record.images)
        self._told[uid] = (record, pod, answer)
        return answer

    def _ours(self, jid: str) -> bool:
        return jid.startswith((f"{self._system}:", f"{self._system}/"))

    def _adopt(self, pod: wire.KnownPod, identity: Identity) -> Record:
        # Not in the books yet, as a status never waits for a disk: until the job is found, the kubelet keeps its id.
        record = self._records.setdefault(identity.uid, self._stranger(pod, identity))
        log.info("adopted", pod=identity.uid, job=identity.jid)
        self.wake()
        return record

    def _stranger(self, pod: wire.KnownPod, identity: Identity) -> Record:
        """A pod that these books do not know: its job has to be looked for."""
        hint = identity.jid if identity.jid.startswith(f"{self._system}:") else ""
        outline = _asked(identity, container_images(pod), frozenset())
        return Record(outline, time.time(), tried=True, hint=hint, problem=LOOKING)

    def change(self, changes: Changes) -> None:
        """Set fields of records, in memory and in the books at once; pods that are gone are passed over."""
        with self._lock:
            newer = [replace(self._records[uid], **fields) for uid, fields in changes.items() if uid in self._records]
            self._books.put(newer)
            self._records.update((record.uid, record) for record in newer)

    def bury(self, uids: Iterable[str]) -> None:
        """Forget deleted pods, except that they were deleted."""
        gone = list(uids)
        with self._lock:
            self._books.bury(gone, time.time())
            self._tombstones.update(gone)
            for uid in gone:
                self._forget(uid)

    def forget_tombstones(self, before: float) -> None:
        """Forget which pods were deleted before that time (seconds since the epoch)."""
        with self._lock:
            self._tombstones.difference_update(self._books.exhume(before))


def _deleted(pod: Outline) -> dict[str, ContainerState]:
    """Of a pod that is gone: whoever still asks must not wait for it."""
    gone = ContainerState(Phase.TERMINATED, "Deleted", "the pod was deleted", 137)
    return dict.fromkeys((*pod.init_containers, *pod.containers), gone)


def _asked(identity: Identity, containers: ContainerImages, not_offloaded: frozenset[str]) -> Outline:
    """The pod as the virtual kubelet sees it: with the containers that run in the cluster."""
    uid, name, namespace, _ = identity
    return Outline(
        uid, name, namespace, tuple(containers.init), tuple(containers.main), not_offloaded, containers.sidecars
    )
