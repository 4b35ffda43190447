"""The address at which a plugin listens: ``HOST:PORT``, ``[IPv6]:PORT`` or ``unix:PATH``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from flashlink.errors import wrong

_TCP = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", re.ASCII)

#: Linux' limit on the path of a socket, with its NUL 108.
_LONGEST_SOCKET = 107


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: `path` for a unix socket, else `host` and `port`.

    Attributes:
        host: Name or address, an IPv6 one without brackets; "" for a unix socket.
        port: 0 to 65535; 0 lets the system choose.
        path: Of the unix socket, absolute; None for TCP.
    """

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def public(self) -> bool:
        """Whether other machines can reach it; a name other than localhost counts as such."""
        if self.path is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    @property
    def endpoint(self) -> str:
        """What a client on the same machine names it."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def parse(text: str, place: str = "listen") -> Listen:
    """Read an address.

    Raises:
        RequestError: It is none of the three forms; names `place`.
    """
    if text.startswith("unix:"):
        path = Path(text.removeprefix("unix:").removeprefix("//")).expanduser().absolute()
        if text in {"unix:", "unix://"} or "\0" in text or len(str(path).encode()) > _LONGEST_SOCKET:
            raise wrong(place, text, f"unix:PATH with a path of at most {_LONGEST_SOCKET} bytes")
        return Listen(path=path)
    match = _TCP.fullmatch(text)
    if match is None or int(match[3]) > 65535 or (match[1] and not _is_ipv6(match[1])):
        raise wrong(place, text, "HOST:PORT, [IPv6]:PORT or unix:PATH")
    return Listen(host=match[1] or match[2], port=int(match[3]))


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
