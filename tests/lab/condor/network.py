"""A network of two ends that can be cut: packets vanish, as in a network that has failed, and nobody is told."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import Self

#: Of nobody: what is sent to it is received, and thrown away.
NOBODY = "02:00:00:00:00:01"


def ip(*words: str) -> None:
    """Run ``ip`` of iproute2, as root."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Link:
    """A network namespace from which one address of this machine is reached, through a pair of virtual cables.

    Args:
        name: Of the namespace, at most ten characters.
        address: Of the loopback network of this machine.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self._address = address
        self._here, self._there = f"{name}0", f"{name}1"
        number = sum(name.encode()) % 250
        self._ends = f"10.231.{number}.1", f"10.231.{number}.2"

    def __enter__(self) -> Self:
        ip("netns", "add", self.name)
        ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.name)
        for inside, end, cable in zip((False, True), self._ends, (self._here, self._there), strict=True):
            self._ip(inside, "address", "add", f"{end}/30", "dev", cable)
            self._ip(inside, "link", "set", cable, "up")
            self._let_loopback_pass(inside, cable)
        self._ip(True, "route", "add", f"{self._address}/32", "via", self._ends[0], "src", self._ends[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ip("link", "delete", self._here)
        ip("netns", "delete", self.name)

    def command(self, *words: str) -> list[str]:
        """The argument vector that runs a command in the namespace, by root."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut(self, *, requests: bool = True, answers: bool = True) -> None:
        """Lose all packets to the address, or all from there, or both."""
        for inside, lost in ((True, requests), (False, answers)):
            if lost:
                self._neighbour(inside, "replace", "lladdr", NOBODY, "nud", "permanent")

    def mend(self) -> None:
        """Lose nothing any more."""
        for inside in (True, False):
            self._neighbour(inside, "replace", "lladdr", NOBODY, "nud", "permanent")
            self._neighbour(inside, "delete")

    def _neighbour(self, inside: bool, verb: str, *words: str) -> None:
        end, cable = (self._ends[0], self._there) if inside else (self._ends[1], self._here)
        self._ip(inside, "neighbour", verb, end, "dev", cable, *words)

    def _ip(self, inside: bool, *words: str) -> None:
        ip(*(["-netns", self.name] if inside else []), *words)

    def _let_loopback_pass(self, inside: bool, cable: str) -> None:
        """Addresses of the loopback network stay on their machine unless this says otherwise."""
        setting = f"net.ipv4.conf.{cable}.route_localnet=1"
        subprocess.run([*(self.command() if inside else []), "sysctl", "-qw", setting], check=True)
