"""Probes and lifecycle hooks: what a container is asked while it runs, what is done at its start and before its end."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from flashlink.pods import fields
from flashlink.pods.value import Value

#: Where probes and hooks look unless they say a host: a job's containers have the worker's network.
LOCAL = "127.0.0.1"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+", re.ASCII)
_REAL_TIME = re.compile(r"SIGRTMIN(\+[0-9]{1,2})?|SIGRTMAX(-[0-9]{1,2})?", re.ASCII)
_SIGNALS = frozenset(known.name for known in signal.Signals) - {"SIGRTMIN", "SIGRTMAX"}


@dataclass(frozen=True, slots=True)
class Exec:
    """A command in the container; well if it exits with 0."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpGet:
    """A request; well if the answer's status is from 200 to 399.

    Attributes:
        port: 1 to 65535.
        path: With its query; in the characters that a request may hold.
        host: Name or address.
        scheme: "http" or "https"; certificates are not verified.
        headers: Names and values in order.
    """

    port: int
    path: str = "/"
    host: str = LOCAL
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """A connection; well if it can be opened."""

    port: int
    host: str = LOCAL


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause of so many seconds; of hooks only."""

    seconds: int


Handler = Exec | HttpGet | TcpSocket | Sleep


@dataclass(frozen=True, slots=True)
class Probe:
    """What a container is asked again and again.

    Attributes:
        handler: How it is asked.
        delay: Seconds from the container's start to the first time.
        period: Seconds between two times.
        timeout: Seconds after which no answer is a failure.
        successes: In a row, to count.
        failures: In a row, to count.
        grace: Seconds between SIGTERM and SIGKILL of a container that fails it; None for the pod's.
    """

    handler: Handler
    delay: int = 0
    period: int = 10
    timeout: int = 1
    successes: int = 1
    failures: int = 3
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """Probes and hooks of a container; those that it has not are None.

    Attributes:
        startup: Until it succeeds the others wait; a failure ends the container.
        readiness: Whether the container is ready.
        liveness: A failure ends the container.
        post_start: Done when the container has started; a failure ends it.
        pre_stop: Done before a container is told to end, within its grace.
        stop_signal: By which it is told; "" for SIGTERM.
    """

    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    post_start: Handler | None = None
    pre_stop: Handler | None = None
    stop_signal: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of their commands."""
        probes = (self.startup, self.readiness, self.liveness)
        handlers = (self.post_start, self.pre_stop, *(probe.handler for probe in probes if probe is not None))
        return tuple(word for handler in handlers if isinstance(handler, Exec) for word in handler.command)


#: Of a container without any.
NOTHING = Life()

Expand = Callable[[Value], tuple[str, ...] | None]


def life(container: Value, expand: Expand) -> Life:
    """The probes and hooks of `container`.

    Args:
        container: As it stands in the pod.
        expand: Gives a list of texts with ``$(VAR)`` expanded: Kubernetes does that in probes, not in hooks.

    Raises:
        RequestError: One of them is wrong, or cannot be done.
    """
    ports = _ports(container["ports"])
    lifecycle = container["lifecycle"]
    fields.check(lifecycle, fields.LIFECYCLE, "lifecycle")
    return Life(
        startup=_probe(container["startupProbe"], ports, expand, ends=True),
        readiness=_probe(container["readinessProbe"], ports, expand),
        liveness=_probe(container["livenessProbe"], ports, expand, ends=True),
        post_start=_hook(lifecycle["postStart"], ports),
        pre_stop=_hook(lifecycle["preStop"], ports),
        stop_signal=_signal(lifecycle["stopSignal"]),
    )


def _ports(ports: Value) -> Mapping[str, int]:
    """The container's ports that have a name."""
    named = {port["name"].text(): port["containerPort"].integer(1, 65535) for port in ports.each() if port["name"]}
    return {name: port for name, port in named.items() if port is not None}


def _probe(probe: Value, ports: Mapping[str, int], expand: Expand, *, ends: bool = False) -> Probe | None:
    """`ends`: its failure ends the container."""
    if not probe:
        return None
    fields.check(probe, fields.PROBE, "probe")
    if probe["terminationGracePeriodSeconds"].given and not ends:
        raise probe["terminationGracePeriodSeconds"].refuse("a readiness probe ends nothing; leave it out")
    successes = _number(probe["successThreshold"], 1)
    if ends and successes != 1:
        raise probe["successThreshold"].wrong("1, as it must be in startup and liveness probes")
    return Probe(
        handler=_handler(probe, fields.PROBE_HANDLERS, ports, expand),
        delay=probe["initialDelaySeconds"].integer(0) or 0,
        period=_number(probe["periodSeconds"], 10),
        timeout=_number(probe["timeoutSeconds"], 1),
        successes=successes,
        failures=_number(probe["failureThreshold"], 3),
        grace=probe["terminationGracePeriodSeconds"].integer(1),
    )


def _number(value: Value, default: int) -> int:
    """A number from 1; Kubernetes takes 0 as not given."""
    return value.integer(0) or default


def _hook(hook: Value, ports: Mapping[str, int]) -> Handler | None:
    if not hook:
        return None
    fields.check(hook, fields.HOOK, "lifecycle hook")
    return _handler(hook, fields.HOOK_HANDLERS, ports, Value.texts)


def _handler(
    holder: Value, kinds: Mapping[str, Mapping[str, fields.Rule]], ports: Mapping[str, int], expand: Expand
) -> Handler:
    given = [kind for kind in kinds if holder[kind].given]
    if len(given) != 1:
        raise holder.refuse(
            f"{' and '.join(given) if given else 'nothing'} is to be done; give one of {', '.join(kinds)}"
        )
    (kind,) = given
    value = holder[kind]
    fields.check(value, kinds[kind], kind)
    if kind == "exec":
        return Exec(expand(value["command"]) or _no_command(value["command"]))
    if kind == "httpGet":
        return _http_get(value, ports)
    if kind == "tcpSocket":
        return TcpSocket(_port(value["port"], ports), _host(value["host"]))
    return Sleep(value["seconds"].integer(0) or 0)


def _no_command(value: Value) -> tuple[str, ...]:
    raise value.wrong("a list of texts, a command with its arguments")


def _http_get(value: Value, ports: Mapping[str, int]) -> HttpGet:
    return HttpGet(
        port=_port(value["port"], ports),
        path=_path(value["path"]),
        host=_host(value["host"]),
        scheme=value["scheme"].one_of(("HTTP", "HTTPS", ""), "").lower() or "http",
        headers=tuple(_header(header) for header in value["httpHeaders"].each()),
    )


def _header(header: Value) -> tuple[str, str]:
    fields.check(header, fields.HTTP_HEADER, "HTTP header")
    name, text = header["name"].text(), header["value"].text("")
    if not _TOKEN.fullmatch(name):
        raise header["name"].wrong("the name of an HTTP header")
    if any(character < " " and character != "\t" for character in text):
        raise header["value"].refuse("holds a control character, which no HTTP header can")
    return name, text.strip()


def _path(value: Value) -> str:
    """The path and query of a request, what may not stand in it escaped."""
    path = value.text("") or "/"
    path = path if path.startswith("/") else f"/{path}"
    return quote(path.partition("#")[0], safe="/%?=&;:@+$,!~*'()[]")


def _port(value: Value, ports: Mapping[str, int]) -> int:
    if isinstance(value.raw, str) and not value.raw.isdecimal():
        if value.raw not in ports:
            raise value.wrong("a port, from 1 to 65535 or by name one of the container's ports")
        return ports[value.raw]
    number = Value(int(value.raw), value.place) if isinstance(value.raw, str) else value
    port = number.integer(1, 65535)
    if port is None:
        raise value.wrong("a port, from 1 to 65535 or by name one of the container's ports")
    return port


def _host(value: Value) -> str:
    host = value.text("") or LOCAL
    if not _HOST.fullmatch(host):
        raise value.wrong("the name or address of a host")
    return host


def _signal(value: Value) -> str:
    name = value.text("")
    if name and name not in _SIGNALS and not _REAL_TIME.fullmatch(name):
        raise value.wrong("the name of a signal, as SIGTERM or SIGUSR1")
    return name
