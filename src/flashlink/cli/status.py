"""``flashlink status``: the pods that were submitted from here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import click

from flashlink.cli.terminal import drawn, show_json, show_row, show_table
from flashlink.client.books import Books, Entry
from flashlink.client.interlink import InterLink
from flashlink.client.phase import Verdict, verdict
from flashlink.errors import SiteError
from flashlink.pods.wire import PodStatus

_HEADINGS = ("NAMESPACE", "NAME", "PHASE", "AGE", "UID", "JOB", "REASON")

#: Seconds between two rounds of --watch.
_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """A pod, what its plugin says about it, and what that comes to; a plugin out of reach leaves the phase Unknown."""

    entry: Entry
    status: PodStatus | None
    verdict: Verdict


@click.command()
@click.argument("pods", nargs=-1, metavar="[POD]...")
@click.option("-w", "--watch", is_flag=True, help="Go on showing changes until all have ended.")
@click.option("--json", "as_json", is_flag=True, help="Print all that the plugin tells, as JSON.")
def command(pods: tuple[str, ...], watch: bool, as_json: bool) -> None:
    """Show pods that were submitted from here: all, or those of the names or uids given."""
    if watch and as_json:
        raise click.UsageError("--watch shows a table and --json prints once; choose one")
    books = Books()
    entries = [entry for pod in pods for entry in books.matching(pod)] if pods else books.all()
    with Plugins() as plugins:
        if as_json:
            show_json([_full(plugins.ask(entry)) for entry in entries])
        elif not entries:
            click.echo("no pods; 'flashlink submit' sends some", err=True)
        elif not watch:
            show_table(_HEADINGS, [_row(plugins.ask(entry)) for entry in entries])
        elif sys.stdout.isatty():
            _draw(_changes(plugins, entries))
        else:
            _print(_changes(plugins, entries))


class Plugins:
    """Asks pods' plugins, over one connection each."""

    def __init__(self) -> None:
        self._links: dict[str, InterLink] = {}
        self._silent: dict[str, SiteError] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        for link in self._links.values():
            link.close()

    def again(self) -> None:
        """Begin another round: try those again that were out of reach, which are asked once a round, not once a pod."""
        self._silent.clear()

    def ask(self, entry: Entry) -> Line:
        """What a pod's plugin says about it."""
        try:
            if entry.endpoint in self._silent:
                raise self._silent[entry.endpoint]
            if entry.endpoint not in self._links:
                self._links[entry.endpoint] = InterLink(entry.endpoint, patience=10.0)
            told = self._links[entry.endpoint].status([entry.pod])
        except SiteError as error:
            self._silent[entry.endpoint] = error
            return Line(entry, None, Verdict(verdict(None).phase, reason=str(error)))
        status = next((one for one in told if one.UID in {entry.uid, ""}), None)
        return Line(entry, status, verdict(status))


def _changes(plugins: Plugins, entries: Sequence[Entry]) -> Iterator[list[Line]]:
    """All pods, again and again, until all have ended."""
    lines = [plugins.ask(entry) for entry in entries]
    yield lines
    while not all(line.verdict.phase.final for line in lines):
        time.sleep(_EVERY)
        plugins.again()
        lines = [line if line.verdict.phase.final else plugins.ask(line.entry) for line in lines]
        yield lines


def _draw(rounds: Iterator[list[Line]]) -> None:
    """Show the pods on a terminal, in a table that changes in place."""
    from rich.live import Live

    with Live(auto_refresh=False, vertical_overflow="visible") as live:
        for lines in rounds:
            live.update(drawn(_HEADINGS, [_row(line) for line in lines]), refresh=True)


def _print(rounds: Iterator[list[Line]]) -> None:
    """Print a row for each pod, then one for each change of its phase or reason."""
    told: dict[str, Verdict] = {}
    widths: list[int] = []
    for lines in rounds:
        news = [line for line in lines if told.get(line.entry.uid) != line.verdict]
        told |= {line.entry.uid: line.verdict for line in news}
        rows = [*([] if widths else [_HEADINGS]), *(_row(line) for line in news)]
        widths = widths or [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            show_row(row, widths)


def _row(line: Line) -> tuple[str, ...]:
    entry = line.entry
    age = _age(datetime.now(UTC).timestamp() - entry.submitted)
    return entry.namespace, entry.name, line.verdict.phase, age, entry.uid, entry.jid or "-", line.verdict.reason


def _full(line: Line) -> dict[str, object]:
    entry = line.entry
    return {
        "name": entry.name,
        "namespace": entry.namespace,
        "uid": entry.uid,
        "jid": entry.jid,
        "endpoint": entry.endpoint,
        "submitted": datetime.fromtimestamp(entry.submitted, UTC).isoformat(timespec="seconds"),
        "phase": line.verdict.phase,
        "exitCode": line.verdict.exit_code if line.verdict.phase.final else None,
        "reason": line.verdict.reason,
        "initContainers": line.status.initContainers if line.status else [],
        "containers": line.status.containers if line.status else [],
    }


def _age(seconds: float) -> str:
    """An age as kubectl shows it: the largest unit that makes two digits or so."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
