"""Stay with pods until they end: their statuses as they change, and what their containers write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock, Thread
from typing import Any

from flashlink.client.interlink import InterLink
from flashlink.client.phase import Phase, verdict
from flashlink.errors import FlashlinkError, SiteError
from flashlink.pods.wire import ContainerStatus, LogOptions, LogRequest, PodStatus

#: Seconds between two questions about a pod: short at first, for pods that end at once.
_FIRST, _EVERY = 0.1, 1.0

#: Seconds for which a plugin may be out of reach, or not know a pod, before that is an error: it may be restarting.
PATIENCE = 120.0


def watch(
    link: InterLink, pods: Sequence[dict[str, Any]], patience: float = PATIENCE
) -> Iterator[tuple[int, PodStatus]]:
    """The statuses of pods as they change, each with the index of its pod, until all pods have ended.

    Raises:
        SiteError: The plugin refuses, or for longer than `patience` is out of reach or does not know a pod.
    """
    last: dict[int, PodStatus] = {}
    living = set(range(len(pods)))
    pause, lost_since = _FIRST, None
    while living:
        trouble: SiteError | None = None
        for index in sorted(living):
            try:
                status = _ask(link, pods[index])
            except SiteError as error:
                if not error.transient:
                    raise
                trouble = error
                continue
            if status != last.get(index):
                last[index] = status
                yield index, status
            if verdict(status).phase.final:
                living.discard(index)
        lost_since = (lost_since or time.monotonic()) if trouble else None
        if trouble and lost_since and time.monotonic() - lost_since > patience:
            raise trouble
        time.sleep(pause if living else 0)
        pause = min(_EVERY, pause * 1.5)


def _ask(link: InterLink, pod: dict[str, Any]) -> PodStatus:
    """The status of one pod, asked alone as interLink asks since 0.5."""
    uid = pod["metadata"]["uid"]
    status = next((one for one in link.status([pod]) if one.UID in {uid, ""}), None)
    if status is None or verdict(status).phase is Phase.UNKNOWN:
        raise SiteError(f"{link.endpoint}: does not know pod {pod['metadata']['name']} ({uid})", transient=True)
    return status


class Logs:
    """Everything that the containers of pods write, followed as it comes: one thread for each instance of a container.

    Args:
        link: The plugin.
        write: Called with the pod's index, the container's name and a piece of its log; never twice at once.
    """

    def __init__(self, link: InterLink, write: Callable[[int, str, bytes], None]) -> None:
        self._link = link
        self._write = write
        self._lock = Lock()
        self._followers: dict[tuple[int, str], list[Thread]] = {}

    def see(self, index: int, status: PodStatus) -> None:
        """Follow the containers of a pod that have started since the last status."""
        for container in [*status.initContainers, *status.containers]:
            threads = self._followers.setdefault((index, container.name), [])
            if _has_output(container) and len(threads) <= container.restartCount:
                # Instances that came and went between two statuses have no follower of their own.
                before = threads[-1] if threads else None
                thread = Thread(target=self._follow, args=(index, status, container.name, before), daemon=True)
                threads += [thread] * (container.restartCount + 1 - len(threads))
                thread.start()

    def close(self) -> None:
        """Wait until all is written."""
        for threads in self._followers.values():
            for thread in threads:
                thread.join()

    def _follow(self, index: int, status: PodStatus, container: str, before: Thread | None) -> None:
        if before is not None:
            before.join()
        request = LogRequest(
            PodUID=status.UID,
            ContainerName=container,
            PodName=status.name,
            Namespace=status.namespace,
            Opts=LogOptions(Follow=True),
        )
        try:
            for piece in unbroken(self._link, request):
                self._put(index, container, piece)
        except FlashlinkError as error:
            self._put(index, container, f"[the log ends here: {error}]\n".encode())

    def _put(self, index: int, container: str, piece: bytes) -> None:
        with self._lock:
            self._write(index, container, piece)


def unbroken(link: InterLink, request: LogRequest, patience: float = PATIENCE) -> Iterator[bytes]:
    """A followed log from its start; after a broken connection it goes on where it was.

    Raises:
        SiteError: The plugin refuses, or is out of reach for longer than `patience`.
    """
    written, lost_since = 0, None
    while True:
        skip = written
        try:
            for piece in link.logs(request):
                lost_since = None
                rest = piece[skip:]
                skip -= min(skip, len(piece))
                written += len(rest)
                if rest:
                    yield rest
            return
        except SiteError as error:
            lost_since = lost_since or time.monotonic()
            if not error.transient or time.monotonic() - lost_since > patience:
                raise
            time.sleep(_EVERY)


def _has_output(container: ContainerStatus) -> bool:
    """It runs, or ran; of a container that never did, flashlink's plugin says so."""
    ended = container.state.terminated
    return container.state.running is not None or (ended is not None and not ended.message.startswith("not started"))
