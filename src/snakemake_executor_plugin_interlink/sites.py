"""The sites that a workflow may use: one interLink plugin each, and patience while it is out of reach."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from logging import Logger

from flashlink.client.interlink import InterLink, with_jid
from flashlink.errors import SiteError, wrong
from flashlink.pods.wire import CreateRequest, LogRequest, PodStatus
from snakemake_executor_plugin_interlink.job import CONTAINER
from snakemake_executor_plugin_interlink.records import PodRecord

#: Longest wait for an answer; the plugin answers everything but a create from memory.
_ANSWER_SECONDS = 30.0


class Site:
    """One plugin. A call that fails for the moment gives None, until patience is at its end.

    Args:
        name: As rules name it.
        endpoint: ``http://HOST:PORT`` or ``unix:PATH``.
        patience: Seconds for which the plugin may be out of reach.
        log: Where news about it go.
    """

    def __init__(self, name: str, endpoint: str, patience: float, log: Logger) -> None:
        self.name = name
        self.endpoint = endpoint
        self._patience = patience
        self._log = log
        self._client = InterLink(endpoint, patience=_ANSWER_SECONDS)
        self._failing_since: dict[str, float] = {}

    def create(self, request: CreateRequest) -> str | None:
        """Send a pod.

        Returns:
            Its job id, or None if it is to be sent again, with the same uid.

        Raises:
            SiteError: The site refuses the pod, or patience is at its end.
        """
        try:
            answer = self._client.create(request)
        except SiteError as error:
            if not error.transient:
                raise
            self._endure("create", error)
            return None
        self._well("create")
        return answer.PodJID

    def status(self, records: Sequence[PodRecord]) -> dict[str, PodStatus] | None:
        """State of the pods by uid, in one call.

        Returns:
            None if the plugin gives no sensible answer now: its pods go on, whatever is wrong with it.

        Raises:
            SiteError: Patience is at its end.
        """
        try:
            answer = self._client.status([with_jid(record.pod, record.jid) for record in records])
        except SiteError as error:
            self._endure("status", error)
            return None
        self._well("status")
        return {status.UID: status for status in answer}

    def logs(self, record: PodRecord) -> Iterator[bytes]:
        """All that the pod wrote, in pieces."""
        metadata = record.pod["metadata"]
        return self._client.logs(LogRequest(record.uid, CONTAINER, metadata["name"], metadata["namespace"]))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _well(self, call: str) -> None:
        if self._failing_since.pop(call, None) is not None:
            self._log.info(f"Site {self.name} answers again.")

    def _endure(self, call: str, error: SiteError) -> None:
        now = time.monotonic()
        if call not in self._failing_since:
            self._log.warning(f"Site {self.name}: {error}. Waiting for it, for {self._patience:g} s at most.")
        if now - self._failing_since.setdefault(call, now) > self._patience:
            raise SiteError(f"site {self.name} was out of reach for {self._patience:g} s: {error}")


class Sites(Mapping[str, Site]):
    """Sites by name, each opened when first used.

    Args:
        endpoints: Name to endpoint.
        patience: Seconds for which a plugin may be out of reach.
        log: Where news about them go.
    """

    def __init__(self, endpoints: Mapping[str, str], patience: float, log: Logger) -> None:
        self._endpoints = dict(endpoints)
        self._patience = patience
        self._log = log
        self._open: dict[str, Site] = {}

    def __getitem__(self, name: str) -> Site:
        """The site of that name.

        Raises:
            RequestError: There is none.
        """
        if name not in self._endpoints:
            known = ", ".join(self._endpoints)
            raise wrong("resources: site", name, f"one of the sites {known}", "name its plugin with --interlink-sites")
        if name not in self._open:
            self._open[name] = Site(name, self._endpoints[name], self._patience, self._log)
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        """Names of the sites."""
        return iter(self._endpoints)

    def __len__(self) -> int:
        """Number of sites."""
        return len(self._endpoints)

    def close(self) -> None:
        """Close all connections."""
        for site in self._open.values():
            site.close()
