"""Pods that nobody wants any more are deleted in the background: a plugin that hangs holds up nobody."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from flashlink.client.interlink import InterLink, with_jid
from flashlink.errors import FlashlinkError
from snakemake_executor_plugin_interlink.records import PodRecord, Records

#: Longest wait for one answer; a plugin takes a deletion note and answers, it does not wait for the pod's end.
_ANSWER_SECONDS = 10.0

#: Deletions under way at once.
_AT_ONCE = 16


class Deletions:
    """Deletes pods, many at once. What could not be deleted keeps its record, for whoever cleans up next.

    Args:
        records: Of the working directory. The record of a pod under deletion has the pod's uid as its key: its job may
            be sent again meanwhile, and then has a record of its own.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="delete")
        self._links: dict[str, InterLink] = {}
        self._lock = Lock()
        self._begun: dict[str, Future[None]] = {}

    def begin(self, record: PodRecord) -> None:
        """Have a pod deleted; returns at once."""
        earlier = self._begun.get(record.uid)
        if earlier is None or earlier.done():
            self._records.rename(record, record.uid)
            self._begun[record.uid] = self._pool.submit(self._delete, record)

    def finish(self, records: Iterable[PodRecord], seconds: float) -> list[str]:
        """Have those deleted too, and wait for all deletions, so long at most.

        Returns:
            Why not, one line for each pod that is left.
        """
        for record in records:
            self.begin(record)
        deadline = time.monotonic() + seconds
        wait(self._begun.values(), timeout=seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        # A call under way when the time is up ends soon, by its own limit; its connection must stay till then.
        if time.monotonic() < deadline:
            for link in self._links.values():
                link.close()
        return [line for future in self._begun.values() if (line := _failure(future))]

    def _delete(self, record: PodRecord) -> None:
        self._link(record.endpoint).delete(with_jid(record.pod, record.jid) if record.jid else record.pod)
        self._records.remove(record.uid)

    def _link(self, endpoint: str) -> InterLink:
        with self._lock:
            if endpoint not in self._links:
                self._links[endpoint] = InterLink(endpoint, patience=_ANSWER_SECONDS)
            return self._links[endpoint]


def _failure(future: Future[None]) -> str:
    if future.cancelled() or not future.done():
        return "the plugin did not answer in time"
    error = future.exception()
    if error is not None and not isinstance(error, FlashlinkError):
        raise error
    return str(error or "")
