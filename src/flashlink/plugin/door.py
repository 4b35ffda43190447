"""The address at which the plugin takes requests: a socket of its own, bound before anything else is started."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from flashlink.errors import SiteError
from flashlink.site.listen import Listen


class Door:
    """A bound socket; a unix socket has mode 0600 from its first moment and is removed at the end.

    Args:
        address: Where to bind.

    Raises:
        SiteError: The address is in use, or cannot be had.
    """

    def __init__(self, address: Listen) -> None:
        self._address = address
        try:
            self.socket = _unix(address.path) if address.path is not None else _tcp(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SiteError(
                    f"{address.endpoint}: the address is in use; stop what listens there or choose another --listen"
                ) from error
            raise SiteError(f"{address.endpoint}: cannot listen there: {error}; choose another --listen") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        if self._address.path is not None:
            self._address.path.unlink(missing_ok=True)

    @property
    def public(self) -> bool:
        """Other machines can reach it."""
        return self._address.public

    @property
    def endpoint(self) -> str:
        """How clients on this machine name it, with the port that the system has chosen for port 0."""
        if self._address.path is not None:
            return self._address.endpoint
        return Listen(self._address.host, self.socket.getsockname()[1]).endpoint


def _tcp(address: Listen) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(place)
    return bound


def _unix(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(mask)
    return bound


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody serves any more, as a killed plugin leaves it; never another kind of file."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
