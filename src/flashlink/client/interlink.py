"""Calls to an interLink plugin, as interLink's API server makes them, without a cluster.

It works against any plugin that speaks interLink 0.5 or later, by http or over a unix socket.
"""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from flashlink.client import answers
from flashlink.errors import RequestError, SiteError, wrong
from flashlink.pods import wire

#: Where ``flashlink plugin`` listens if nobody says otherwise.
DEFAULT_ENDPOINT = "http://127.0.0.1:4000"

#: Statuses after which the same request can succeed later.
_TRANSIENT = {408, 425, 429, 502, 503, 504}

#: interLink itself waits so long for the first byte of an answer.
_PATIENCE = httpx.Timeout(120.0, connect=10.0)

_ERRNO = re.compile(r"\[Errno -?\d+\] ")


class InterLink:
    """The plugin at one endpoint. May be used from several threads; close it, or use it in a ``with`` statement.

    Every call raises `SiteError` with one line when the plugin is out of reach (``transient``), refuses (the line is
    the plugin's own; ``transient`` for a status that says "later") or answers what is not interLink's interface.

    Args:
        endpoint: ``http://HOST:PORT``, ``https://…``, ``unix:PATH`` or ``unix:///PATH``.
        patience: Seconds to wait for an answer; interLink's own 120 by default.

    Raises:
        RequestError: `endpoint` is none of these.
    """

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, patience: float | None = None) -> None:
        self.endpoint = endpoint
        base, self._socket = _address(endpoint)
        timeout = _PATIENCE if patience is None else httpx.Timeout(patience)
        # A proxy of the environment is for the outside world; a plugin listens on this machine or in the site's net.
        self._http = httpx.Client(
            base_url=base, transport=httpx.HTTPTransport(uds=self._socket), timeout=timeout, trust_env=False
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ping(self) -> wire.Ping:
        """Ask whether the plugin is well, and what its site has in all."""
        return answers.ping(self._call("GET", "/status", []))

    def create(self, request: wire.CreateRequest) -> wire.CreateAnswer:
        """Send a pod. flashlink's plugin takes the same pod twice as one; other plugins may not.

        Returns:
            The pod's uid and its job id, to be kept in the pod's annotation ``JobID`` (see `with_jid`).
        """
        body = self._call("POST", "/create", request)
        uid = str(request.pod.get("metadata", {}).get("uid", ""))
        return answers.create_answer(answers.decode(body, self.endpoint), uid, self.endpoint)

    def status(self, pods: Sequence[Mapping[str, Any]]) -> list[wire.PodStatus]:
        """Ask for the state of Kubernetes pods, which should carry the annotation ``JobID``.

        An empty `pods` would be a ping to the plugin, so it asks nothing and gives nothing.
        """
        if not pods:
            return []
        return answers.statuses(answers.decode(self._call("GET", "/status", pods), self.endpoint), self.endpoint)

    def delete(self, pod: Mapping[str, Any], grace: int | None = None) -> None:
        """End a Kubernetes pod and forget it; the plugin answers before it has ended.

        Args:
            pod: As submitted, with its annotation ``JobID``.
            grace: Seconds between SIGTERM and SIGKILL; the pod's own if None.
        """
        if grace is not None:
            pod = {**pod, "metadata": {**pod.get("metadata", {}), "deletionGracePeriodSeconds": grace}}
        self._call("POST", "/delete", pod)

    def logs(self, request: wire.LogRequest) -> Iterator[bytes]:
        """What a container wrote, in pieces as they come; with ``Follow`` until the container ends."""
        # A followed container may be silent for hours.
        timeout = httpx.Timeout(10.0, read=None) if request.Opts.Follow else self._http.timeout
        with self._errors(), self._http.stream("GET", "/getLogs", **_json(request), timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise self._refused(response)
            yield from response.iter_bytes()

    def _call(self, method: str, path: str, body: object) -> bytes:
        with self._errors():
            response = self._http.request(method, path, **_json(body))
        if not response.is_success:
            raise self._refused(response)
        return response.content

    def _refused(self, response: httpx.Response) -> SiteError:
        # interLink's API server, where one stands in between, escapes the plugin's sentence for HTML.
        said = " ".join(html.unescape(response.text).split())
        said = said if len(said) <= 500 else said[:497] + "..."
        line = f"{self.endpoint}: {said or response.reason_phrase} (HTTP {response.status_code})"
        return SiteError(line, transient=response.status_code in _TRANSIENT)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what httpx raises into one line."""
        try:
            if self._socket:
                _knock(self._socket)
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            why = _ERRNO.sub("", str(error)) or "no connection in time"
            raise SiteError(
                f"{self.endpoint}: no interLink plugin answers ({why}); start one with 'flashlink plugin' "
                "or name another endpoint",
                transient=True,
            ) from None
        except httpx.TimeoutException:
            raise SiteError(f"{self.endpoint}: the plugin did not answer in time", transient=True) from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise SiteError(f"{self.endpoint}: the connection broke ({error})", transient=True) from None
        except httpx.HTTPError as error:
            raise SiteError(f"{self.endpoint}: {error}") from None


def with_jid(pod: Mapping[str, Any], jid: str) -> dict[str, Any]:
    """The pod with its job id in the annotation ``JobID``, as interLink sends it in every later call."""
    metadata = pod.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), "JobID": jid}
    return {**pod, "metadata": {**metadata, "annotations": annotations}}


def _address(endpoint: str) -> tuple[str, str | None]:
    """Base URL and unix socket of an endpoint."""
    if endpoint.startswith("unix:"):
        path = endpoint.removeprefix("unix:").removeprefix("//")
        if not path:
            raise wrong("endpoint", endpoint, "unix:PATH with the path of a socket")
        return "http://plugin", str(Path(path).expanduser().absolute())
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL("")
    # httpx writes what no host name may hold as %XX.
    sound = url.host and "%" not in url.host and (url.port or 0) < 65536
    if url.scheme not in {"http", "https"} or not sound:
        raise wrong("endpoint", endpoint, "http://HOST:PORT or unix:PATH")
    return endpoint, None


def _knock(path: str) -> None:
    """Connect to a unix socket and let go, as httpcore 1.0 leaks the socket of a connection that fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE.connect)
        try:
            probe.connect(path)
        except OSError as error:
            raise httpx.ConnectError(error.strerror or str(error)) from None


def _json(body: object) -> dict[str, Any]:
    """The parts of a request that carry `body`; GET requests carry one too, as interLink sends them."""
    try:
        content = msgspec.json.encode(body)
    except (TypeError, UnicodeEncodeError) as error:
        raise RequestError(f"the pod cannot be written as JSON: {error}") from None
    return {"content": content, "headers": {"Content-Type": "application/json"}}
