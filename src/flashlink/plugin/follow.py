"""From a log request to the pieces of the answer: which container it is, its log, and how long to follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from flashlink.plugin.logs import Log, Wanted, instance
from flashlink.plugin.pods import Pods
from flashlink.plugin.states import known_states
from flashlink.pods import names, wire
from flashlink.pods.status import UNKNOWN, ContainerState, Phase
from flashlink.pods.value import Value

#: Seconds between two looks at a log that is followed.
PAUSE = 0.25


class ContainerLog:
    """The log of one container of one pod.

    Args:
        pods: All known pods.
        asked: Which container; the names are checked, as they become paths.
        wanted: Which part of its log.

    Raises:
        RequestError: A name is not one.
    """

    def __init__(self, pods: Pods, asked: wire.LogRequest, wanted: Wanted) -> None:
        self._pods = pods
        self._uid = names.uid(Value(asked.PodUID, "getLogs: PodUID"))
        self._container = names.label(Value(asked.ContainerName, "getLogs: ContainerName"))
        self._wanted = wanted

    async def stream(self, stopping: asyncio.Event) -> AsyncIterator[bytes]:
        """The pieces of the log; a sentence in its place if there is none.

        Args:
            stopping: Set when the server is to end.
        """
        path = await self._first(stopping)
        log = await run_in_threadpool(self._open, path)
        if log is None:
            yield f"{self._explanation()}\n".encode()
            return
        try:
            while True:
                # Asked before reading: what was written before the end is read after it.
                last = not self._wanted.follow or stopping.is_set() or await run_in_threadpool(self._over, path)
                while piece := await run_in_threadpool(log.read):
                    yield piece
                if last or log.full:
                    return
                await asyncio.sleep(PAUSE)
        finally:
            log.close()

    async def _first(self, stopping: asyncio.Event) -> Path | None:
        """The log's path; a log to be followed is waited for."""
        while True:
            over = self._over(None) or stopping.is_set()
            path = await run_in_threadpool(self._path)
            if path is not None or over or self._wanted.previous or not self._wanted.follow:
                return path
            await asyncio.sleep(PAUSE)

    def _path(self) -> Path | None:
        return instance(self._pods.folder(self._uid), self._container, previous=self._wanted.previous)

    def _open(self, path: Path | None) -> Log | None:
        try:
            return None if path is None else Log(path, self._wanted)
        except OSError:
            return None

    def _state(self) -> ContainerState | None:
        """State of the container; None if it is not known here."""
        record = self._pods.get(self._uid)
        if record is None or self._container not in (*record.pod.init_containers, *record.pod.containers):
            return None
        return known_states(record).get(self._container, UNKNOWN)

    def _over(self, path: Path | None) -> bool:
        """True if nothing more can come: the container, or this instance of it, has ended."""
        state = self._state()
        if state is None or state.terminated:
            return True
        return path is not None and (state.ended is not None or path != self._path())

    def _explanation(self) -> str:
        record = self._pods.get(self._uid)
        if record is None:
            return f"no pod with uid {self._uid} is known here: it was deleted, or never created"
        state = self._state()
        if state is None:
            known = ", ".join((*record.pod.init_containers, *record.pod.containers))
            return f"pod {record.label} runs no container {self._container} here; it has {known}"
        if self._wanted.previous:
            return f"container {self._container} has no previous instance: it has not been started again"
        what = "has no log" if state.phase is Phase.TERMINATED else "has not started yet"
        return f"container {self._container} {what}: {state.message or state.reason}"
