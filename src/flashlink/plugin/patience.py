"""The batch system as the plugin asks it: not again too soon after a failure, and with a word for the figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import structlog

from flashlink.batch import BatchSystem, Capacity, JobSpec, JobStatus
from flashlink.errors import SiteError
from flashlink.plugin.backoff import Backoff

#: Seconds of waiting after which whoever asked has a turn, and that a call gets when all is to end.
TURN, GRACE = 1.0, 5.0

#: Seconds without an answer after which those who wait for it are told.
SILENCE = 10.0

STOPPED = "the plugin is being stopped"

T = TypeVar("T")

log = structlog.get_logger("flashlink.plugin")


class PatientBatch:
    """A `flashlink.batch.BatchSystem` that is left in peace for a while after each failure.

    Every method raises `SiteError` as the system itself does, while it is left in peace, and once it was closed. All
    calls are made in one thread of its own, so that whoever asks can see to other things while an answer takes its
    time, and can be told to stop.

    Args:
        batch: The batch system.
        seen: Told of each call: its name, its seconds, whether it went well.
    """

    def __init__(self, batch: BatchSystem, seen: Callable[[str, float, bool], None]) -> None:
        self.name = batch.name
        self._batch = batch
        self._seen = seen
        #: Called for every second in which an answer is waited for.
        self.meanwhile: Callable[[], None] = lambda: None
        self._caller = ThreadPoolExecutor(1, "batch")
        self._call: list[Future[Any]] = []
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._again = Backoff()
        self._troubles: dict[str, str] = {}
        self._asked: float | None = None

    @property
    def trouble(self) -> str:
        """What it fails with at present; "" if it answers."""
        return next(iter(list(self._troubles.values())), "")

    @property
    def silence(self) -> str:
        """That a call has been waiting for its answer for long; "" if none has."""
        if self._asked is None or time.monotonic() - self._asked < SILENCE:
            return ""
        return f"{self.name} has not answered for {SILENCE:g} s; it is waited for"

    def in_peace(self, call: str) -> bool:
        """True while `call` would only raise the last failure again."""
        return not self._again.ready(call, time.monotonic())

    def submit(self, jobs: Sequence[JobSpec]) -> list[str | SiteError]:
        """See `BatchSystem.submit`."""
        return self._ask("submit", lambda: self._batch.submit(jobs))

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """See `BatchSystem.query`."""
        return self._ask("query", lambda: self._batch.query(job_ids))

    def find(self, uids: Sequence[str]) -> dict[str, str]:
        """See `BatchSystem.find`."""
        return self._ask("find", lambda: self._batch.find(uids))

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        """See `BatchSystem.cancel`."""
        self._ask("cancel", lambda: self._batch.cancel(job_ids, grace))

    def forget(self, job_ids: Sequence[str]) -> None:
        """See `BatchSystem.forget`."""
        self._ask("forget", lambda: self._batch.forget(job_ids))

    def capacity(self) -> Capacity:
        """See `BatchSystem.capacity`."""
        return self._ask("capacity", self._batch.capacity)

    def close(self) -> None:
        """See `BatchSystem.close`; a call that is on its way gets a few seconds to come back."""
        self._closing.set()
        wait(self._call, GRACE)
        self._given_up.set()
        self._batch.close()

    def _ask(self, call: str, question: Callable[[], T]) -> T:
        if self.in_peace(call):
            raise SiteError(self._troubles.get(call, ""), transient=True)
        began = self._asked = time.monotonic()
        try:
            answer = self._answer(question)
        except SiteError as error:
            now = time.monotonic()
            pause = self._again.failed(call, now, error.again)
            self._troubles[call] = str(error)
            self._seen(call, now - began, False)
            took = round(now - began, 1)
            log.warning("batch system failed", call=call, error=str(error), after_s=took, again_in_s=pause)
            raise
        finally:
            self._asked = None
        self._again.went_well(call)
        self._troubles.pop(call, None)
        self._seen(call, time.monotonic() - began, True)
        return answer

    def _answer(self, question: Callable[[], T]) -> T:
        if self._closing.is_set():
            raise SiteError(STOPPED, transient=True)
        call = self._caller.submit(question)
        self._call = [call]
        while not wait(self._call, TURN).done:
            if self._given_up.is_set():
                raise SiteError(STOPPED, transient=True)
            self.meanwhile()
        return call.result()
